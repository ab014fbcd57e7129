"""The parts of the RAG example, called one after another, without server or queue.

`python -m benchmarks.peers.rag_parts WORKFLOW STORE WHERE` reads {"questions": […]} and answers
{"seconds"} for all of them. WHERE is `here`, all engines in this process, or `apart`, each in one
of its own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import networkx as nx

from benchmarks.peers.engine import drive, open_like_worker
from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.graph import Graph, ModelCall
from torchloom.orchestrator import Orchestrator
from torchloom_api.reader import Reader
from torchloom_api.settings import Settings


#: One engine's answer to (inputs, params).
Part = Callable[[Values, Values], Values]


def here(deployment: Deployment) -> Part:
    """Open an engine in this process.

    `auto` is, as everywhere, what the server has found the fastest.
    """
    engine = open_like_worker(
        deployment.factory, dict(deployment.config), str(deployment.devices[0])
    )
    return lambda inputs, params: drive(engine, [{"inputs": inputs, "params": params}])[0]


def apart(deployment: Deployment) -> Part:
    """Open an engine in a process of its own, at the other end of a pipe."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve,
        args=(theirs, deployment.factory, dict(deployment.config), str(deployment.devices[0])),
        daemon=True,
    )
    process.start()

    def call(inputs: Values, params: Values) -> Values:
        ours.send((dict(inputs), dict(params)))
        outputs: Values = ours.recv()
        return outputs

    return call


def _serve(connection: Connection, factory: str, config: dict[str, object], device: str) -> None:
    engine = open_like_worker(factory, config, device)
    with contextlib.suppress(EOFError):  # the other end is gone
        while True:
            inputs, params = connection.recv()
            (outputs,) = drive(engine, [{"inputs": inputs, "params": params}])
            connection.send(dict(outputs))


def answer(graph: Graph, parts: dict[str, Part], question: str) -> None:
    """Call the part of each node in order."""
    scope: dict[str, object] = {"inputs": graph.with_defaults({"question": question})}
    for name in nx.topological_sort(graph.dag):
        node = graph.nodes[name]
        assert isinstance(node.call, ModelCall)
        inputs = {key: value.evaluate(scope) for key, value in node.inputs.items()}
        params = {key: value.evaluate(scope) for key, value in node.params.items()}
        scope[name] = parts[node.call.model](inputs, params)
    for binding in graph.outputs.values():
        binding.evaluate(scope)


def main() -> None:
    """Answer until standard input ends."""
    file, store, open_part = (
        Path(sys.argv[1]),
        sys.argv[2],
        {"here": here, "apart": apart}[sys.argv[3]],
    )
    reader = Reader(Settings(store=store))
    draft = reader.read_workflow(file.read_text("utf-8"), file, Orchestrator())
    parts = {model.name: open_part(model) for model in draft.models}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for question in json.loads(line)["questions"]:
            answer(draft.graph, parts, question)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
