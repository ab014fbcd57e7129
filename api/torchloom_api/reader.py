"""Reader: documents to deployments and graphs; here the models and workflows packages meet.

Decides what a document may refer to, by where it came from. Loads no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from torchloom.deployment import Deployment
from torchloom.document import Document
from torchloom.errors import Fault, InvalidInput, InvalidModel, InvalidWorkflow
from torchloom.graph import Graph
from torchloom.orchestrator import Orchestrator
from torchloom.signature import Signature
from torchloom_api.settings import Settings
from torchloom_models.kind import KINDS
from torchloom_models.llm.draft.field import draft_source
from torchloom_models.source import find_fault
from torchloom_models.spec import parse_model
from torchloom_workflows.builder import build_graph, function_calls, inline_models
from torchloom_workflows.loader import load_document


#: Where, in the store, what registrations over the network may refer to lies.
_FILES: Final = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checked workflow, and the models that it brings along; nothing of it serves yet."""

    graph: Graph
    models: tuple[Deployment, ...] = ()


class Reader:
    """Reads model and workflow files. Those without a file came over the network, and may do less.

    A path in an operator's file is relative to the file and may lead anywhere; one that came over
    the network must stay in the store's own folder of files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = settings.store_folder.resolve()

    def is_workflow(self, text: bytes, file: Path) -> bool:
        """Tell a workflow file from a model file: it has nodes. Raises InvalidWorkflow."""
        data = load_document(text, str(file)).data
        return isinstance(data, dict) and "nodes" in data

    def read_model(self, text: str | bytes, file: Path | None) -> Deployment:
        """Check a model file. Raises InvalidModel with every fault."""
        document = load_document(text, str(file) if file else None, error=InvalidModel)
        return self._to_deployment(document, file)

    def _to_deployment(self, document: Document, file: Path | None) -> Deployment:
        base = file.parent if file else self._store / _FILES
        deployment = parse_model(document, base=base.resolve())
        if file is None:
            fault = self._find_trespass(document, deployment)
            if fault is not None:
                message = f"Model {deployment.name!r}: {fault.message}"
                raise InvalidModel(message, faults=[fault])
        return replace(deployment, config=self._complete(deployment.config))

    def _complete(self, config: Mapping[str, object]) -> dict[str, object]:
        """Add what engines are told by the server, whatever the file says."""
        return {
            **config,
            "functions": list(self._settings.functions),
            "artefacts": str(self._settings.artefacts_folder),
            "archives": str(self._settings.archives_folder),
            "install_requirements": self._settings.install_requirements,
        }

    def _find_trespass(self, document: Document, deployment: Deployment) -> Fault | None:
        """Find what a document that came over the network may not refer to."""
        config = deployment.config
        adapters = cast("Mapping[str, str]", config.get("adapters", {}))
        named: dict[tuple[str, ...], object] = {("source",): config.get("source")}
        named |= {("adapters", name): source for name, source in adapters.items()}
        named["speculation", "draft"] = draft_source(config)
        if KINDS[deployment.kind].runs_code and "://" in str(config.get("source")):
            message = (
                f"Models of kind {deployment.kind!r} run what their source holds. Over the network "
                f"it must be a path in {_FILES!r} in the server's store, which the operator fills."
            )
            return document.fault(message, "source")
        for path, source in named.items():
            wrong = self._refuse(source) if isinstance(source, str) else None
            if wrong is not None:
                return document.fault(wrong, *path)
        return None

    def _refuse(self, source: str) -> str | None:
        """Say why what came over the network may not refer to a source; None where it may."""
        scheme, separator, _ = source.partition("://")
        if separator:
            if scheme in self._settings.sources:
                return None
            return (
                f"Sources of the scheme {scheme!r} are not allowed over the network. The operator "
                "allows them with the setting `sources`, or serves the file from the command line."
            )
        if Path(source).resolve().is_relative_to(self._store / _FILES):
            return None
        return (
            f"Over the network, a path must lead into {_FILES!r} in the server's store. Put the "
            "folder there, or serve the file from the command line."
        )

    def read_source(self, source: str) -> str:
        """Make a source that came over the network absolute. Raises InvalidInput."""
        wrong = find_fault(source)
        if wrong is None:
            if "://" not in source:
                source = str((self._store / _FILES / source).resolve())
            wrong = self._refuse(source)
        if wrong is not None:
            raise InvalidInput(wrong)
        return source

    def read_workflow(
        self, text: str | bytes, file: Path | None, orchestrator: Orchestrator
    ) -> Draft:
        """Check a workflow file and the models in it. Raises InvalidWorkflow with every fault."""
        document = load_document(text, str(file) if file else None)
        faults: list[Fault] = []
        brought = list(self._read_inline(document, file, faults))
        try:
            graph = self._build(document, text, brought, orchestrator)
        except InvalidWorkflow as error:
            if not faults:
                raise
            faults += error.faults
        if faults:
            faults.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
            count = f"{len(faults)} faults" if len(faults) > 1 else "one fault"
            raise InvalidWorkflow(f"The workflow has {count}. {faults[0]}", faults=faults)
        functions = [self._to_function(path) for path in sorted(function_calls(graph))]
        return Draft(graph=graph, models=(*brought, *functions))

    def _read_inline(
        self, document: Document, file: Path | None, faults: list[Fault]
    ) -> Iterator[Deployment]:
        for part in inline_models(document):
            try:
                yield self._to_deployment(part, file)
            except InvalidModel as error:
                faults += error.faults

    def _build(
        self,
        document: Document,
        text: str | bytes,
        brought: Sequence[Deployment],
        orchestrator: Orchestrator,
    ) -> Graph:
        serving = [status.deployment for status in orchestrator.models()]
        graphs = orchestrator.workflows()
        return build_graph(
            document,
            signature_of=lambda name, version: _find_signature(serving, brought, name, version),
            model_names={each.name for each in serving},
            workflow_of=lambda name, version: _find_graph(graphs, name, version),
            workflow_names={graph.name for graph in graphs},
            function_modules=self._settings.functions,
            devices_of=lambda name, version: _find_devices(serving, brought, name, version),
            source=text if isinstance(text, str) else text.decode(),
        )

    def _to_function(self, path: str) -> Deployment:
        """Make the model that a `function:` node calls: its name is the function's path."""
        kind = KINDS["function"]
        config = {"name": path, "version": 1, "function": path}
        return Deployment(
            name=path,
            kind=kind.name,
            factory=kind.factory,
            config=self._complete(config),
            signature=kind.signature,
        )


def _find_signature(
    serving: Sequence[Deployment], brought: Sequence[Deployment], name: str, version: int | None
) -> Signature | None:
    """Look a model up; what the file brings along comes first."""
    found = _find_versions(serving, brought, name, version)
    return max(found, key=lambda each: each.version).signature if found else None


def _find_devices(
    serving: Sequence[Deployment], brought: Sequence[Deployment], name: str, version: int | None
) -> list[str] | None:
    """Name the devices of all versions that may be called; None if a worker is to choose one."""
    found = _find_versions(serving, brought, name, version)
    devices = dict.fromkeys(device for each in found for device in each.devices)
    is_known = devices and not any(device.kind == "auto" for device in devices)
    return [str(device) for device in devices] if is_known else None


def _find_versions(
    serving: Sequence[Deployment], brought: Sequence[Deployment], name: str, version: int | None
) -> list[Deployment]:
    for deployments in (brought, serving):
        found = [d for d in deployments if d.name == name and version in (None, d.version)]
        if found:
            return found
    return []


def _find_graph(graphs: Sequence[Graph], name: str, version: int | None) -> Graph | None:
    found = [g for g in graphs if g.name == name and version in (None, g.version)]
    return max(found, key=lambda graph: graph.version, default=None)
