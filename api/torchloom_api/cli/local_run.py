"""One run of a file without a server: loads what the file needs, runs it, and lets go of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from pathlib import Path

import msgspec

from torchloom.graph import Graph
from torchloom.signature import Schema
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.loading import LoadingBoard
from torchloom_api.cli.run_event import RunEvent
from torchloom_api.cli.shelf import Shelf
from torchloom_api.input import InputCheck
from torchloom_api.media import to_json
from torchloom_api.registrar import Registrar
from torchloom_api.service import open_service
from torchloom_api.settings import Settings


#: Makes a run's inputs, given the schemas that the workflow declares.
MakeInputs = Callable[[Mapping[str, Schema]], Mapping[str, object]]


def run_file(
    file: Path, others: Sequence[Path], make_inputs: MakeInputs, *, functions: Sequence[str] = ()
) -> Generator[RunEvent]:
    """Run the workflow of a file, and give its events as they come. Leaving the iterator cancels.

    `others` are files that it refers to. Inputs and files are checked before any model is loaded.
    Raises InvalidWorkflow with every fault, InvalidInput, and what keeps a model from loading.
    """
    shelf = Shelf.read([file, *others], functions=functions)
    shelf.require_sound()
    if file not in shelf.workflows:
        message = f"{file} holds a model: run a workflow, or serve the model and call it."
        raise Failure(message)
    graph = shelf.workflows[file]
    inputs = InputCheck(graph.signature).check(make_inputs(graph.signature.inputs))
    settings = Settings.load(environment=os.environ, arguments={"functions": functions or None})
    with asyncio.Runner() as runner:
        events = _events(settings, shelf, [*others, file], graph=graph, inputs=inputs)
        try:
            while (event := runner.run(_next(events))) is not None:
                yield event
        finally:
            runner.run(events.aclose())


async def _next(events: AsyncGenerator[RunEvent]) -> RunEvent | None:
    return await anext(events, None)


async def _events(
    settings: Settings,
    shelf: Shelf,
    files: Sequence[Path],
    *,
    graph: Graph,
    inputs: Mapping[str, object],
) -> AsyncGenerator[RunEvent]:
    with LoadingBoard() as board:
        async with open_service(settings, on_progress=board.report) as service:
            await _load(service.registrar, shelf, files)
            board.finish()
            run = service.orchestrator.start_run(graph, graph.with_defaults(inputs))
            async for event in run.events():
                yield RunEvent(event.type, msgspec.json.decode(to_json(event.data)))


async def _load(registrar: Registrar, shelf: Shelf, files: Sequence[Path]) -> None:
    """Load models first; workflows in the order in which they could be built."""
    for file in files:
        if file not in shelf.workflows:
            await registrar.add_model(file.read_bytes(), file=file)
    for file in shelf.workflows:
        await registrar.add_workflow(file.read_bytes(), file=file)
