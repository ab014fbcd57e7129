"""Shelf: what a set of files declares, checked together. Loads no model and asks no server.

Here the models and workflows packages meet for commands that work without a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.document import Document
from torchloom.errors import Fault, InvalidModel, InvalidWorkflow
from torchloom.graph import Graph
from torchloom.signature import Signature
from torchloom_models.spec import parse_model
from torchloom_workflows.builder import build_graph, inline_models
from torchloom_workflows.loader import load_document


T = TypeVar("T")


@dataclass(slots=True)
class Shelf:
    """Models, workflows by file, and every fault. Files may refer to each other, in any order.

    `named` holds the devices that sound models name, each with the place where they do.
    """

    functions: Collection[str] = ()
    models: list[Deployment] = field(default_factory=list)
    workflows: dict[Path, Graph] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    named: list[tuple[Device, Fault]] = field(default_factory=list)

    @classmethod
    def read(cls, files: Iterable[Path], *, functions: Collection[str] = ()) -> Shelf:
        """Read and check files. Every fault of every file is in `faults`; nothing is raised."""
        shelf = cls(functions)
        workflows: dict[Path, Document] = {}
        for file in files:
            document = shelf._noting(partial(load_document, file.read_bytes(), str(file)))
            if document is not None and _is_workflow(document):
                workflows[file] = document
                for model in inline_models(document):
                    shelf._add_model(model, file)
            elif document is not None:
                shelf._add_model(document, file)
        shelf._build(workflows)
        shelf.faults.sort(key=lambda fault: (fault.file or "", fault.line or 0, fault.column or 0))
        return shelf

    def require_sound(self) -> None:
        """Raise InvalidWorkflow with every fault, if there is any."""
        if self.faults:
            count = "one fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
            raise InvalidWorkflow(f"The files do not pass the checks: {count}.", faults=self.faults)

    def model(self, name: str, version: int | None = None) -> Deployment | None:
        """Give a model, the highest version unless one is named."""
        found = [m for m in self.models if m.name == name and version in (None, m.version)]
        return max(found, key=lambda model: model.version, default=None)

    def workflow(self, name: str, version: int | None = None) -> Graph | None:
        """Give a workflow, the highest version unless one is named."""
        graphs = self.workflows.values()
        found = [g for g in graphs if g.name == name and version in (None, g.version)]
        return max(found, key=lambda graph: graph.version, default=None)

    def _add_model(self, document: Document, file: Path) -> None:
        base = file.parent.resolve()
        model = self._noting(partial(parse_model, document, base=base))
        if model is not None:
            self.models.append(model)
            self.named += [
                (device, document.fault(str(device), "devices", place))
                for place, device in enumerate(model.devices)
                if device.kind != "auto"
            ]

    def _build(self, workflows: Mapping[Path, Document]) -> None:
        """Build as long as it helps: a workflow may call another of the files."""
        left = dict(workflows)
        errors: dict[Path, InvalidWorkflow] = {}
        num_before = len(left) + 1
        while left and len(left) < num_before:
            num_before, errors = len(left), {}
            for file, document in list(left.items()):
                try:
                    self.workflows[file] = self._to_graph(document)
                    del left[file]
                except InvalidWorkflow as error:
                    errors[file] = error
        for file in left:
            self._note(errors[file])

    def _to_graph(self, document: Document) -> Graph:
        return build_graph(
            document,
            signature_of=self._signature_of,
            model_names={model.name for model in self.models},
            workflow_of=self.workflow,
            workflow_names={graph.name for graph in self.workflows.values()},
            function_modules=self.functions,
            devices_of=self._devices_of,
        )

    def _signature_of(self, name: str, version: int | None) -> Signature | None:
        model = self.model(name, version)
        return model.signature if model else None

    def _devices_of(self, name: str, version: int | None) -> list[str] | None:
        """Name the devices of all versions that may be called; None if a worker is to choose."""
        found = [m for m in self.models if m.name == name and version in (None, m.version)]
        devices = dict.fromkeys(device for model in found for device in model.devices)
        is_known = devices and not any(device.kind == "auto" for device in devices)
        return [str(device) for device in devices] if is_known else None

    def _noting(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (InvalidWorkflow, InvalidModel) as error:
            self._note(error)
            return None

    def _note(self, error: InvalidWorkflow | InvalidModel) -> None:
        self.faults += error.faults or (Fault(message=error.message),)


def _is_workflow(document: Document) -> bool:
    return isinstance(document.data, dict) and "kind" not in document.data
