"""Plan: all files of a migration, and its notes. Reads the old installation; writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.config_loading import Loaded
from torchloom_api.torchserve.migration.language_file import (
    find_language,
    note_language,
    to_language_keys,
)
from torchloom_api.torchserve.migration.model_file import (
    LOST_BY_LANGUAGE,
    ArchiveFacts,
    number_versions,
    read_facts,
    to_common_keys,
    to_model_file,
)
from torchloom_api.torchserve.migration.note import Note
from torchloom_api.torchserve.migration.settings_file import to_settings_file
from torchloom_api.torchserve.migration.workflow_file import to_node_model
from torchloom_api.torchserve.settings import InitialModel
from torchloom_api.torchserve.snapshot import Snapshot
from torchloom_api.torchserve.startup_model import StartupModel, StartupModels
from torchloom_api.torchserve.telemetry.metric_file import InvalidMetricsFile, read_metric_file
from torchloom_api.torchserve.workflow.document import to_workflow_file
from torchloom_api.torchserve.workflow.specification import Specification
from torchloom_models.archive.packing import NAME_PATTERN


_ENDINGS: Final = (".mar", ".model", ".tar.gz")


@dataclass(slots=True)
class Plan:
    """YAML documents by the path that they get, archives to unpack by their folder, and notes.

    `unpacked`: archives of workflows.
    """

    documents: dict[PurePosixPath, Mapping[str, object]] = field(default_factory=dict)
    unpacked: dict[PurePosixPath, Path] = field(default_factory=dict)
    #: Archives of models, likewise.
    models: dict[PurePosixPath, Path] = field(default_factory=dict)
    #: Metrics of handlers that `metrics_config` declares.
    metrics: Sequence[Mapping[str, object]] = ()
    notes: list[Note] = field(default_factory=list)


def make_plan(loaded: Loaded, *, model_store: Path, workflow_store: Path, target: Path) -> Plan:
    """Plan the migration of an installation into the folder `target`.

    Models are those that the configuration loads, or, where it names none, all of the store.
    """
    plan = Plan()
    config = loaded.config
    plan.notes += [Note(subject="config.properties", message=each) for each in loaded.warnings]
    settings, notes = to_settings_file(config, loaded.given)
    plan.documents[PurePosixPath("torchloom.yaml")] = settings
    plan.notes += notes
    told = _told(config)
    plan.metrics = _find_metrics(config, plan.notes)
    _add_models(plan, config, told, _find_archives(config, told, model_store, plan.notes))
    for path in sorted(workflow_store.glob("*.war")):
        _add_workflow(plan, path, model_store=model_store, target=target)
    return plan


def _find_metrics(config: Config, notes: list[Note]) -> Sequence[Mapping[str, object]]:
    if config.metrics_config is None:
        return ()
    try:
        table = read_metric_file(Path(config.metrics_config))
    except InvalidMetricsFile as error:
        message = f"no metrics are carried over: {error.message}"
        notes.append(Note(subject="config.properties", message=message))
        return ()
    return [each.to_document() for each in table.model.values()]


def _told(config: Config) -> StartupModels:
    if config.model_snapshot is not None:
        return Snapshot.read(config.model_snapshot).models
    return config.models


def _find_archives(
    config: Config, told: StartupModels, store: Path, notes: list[Note]
) -> list[tuple[str | None, Path]]:
    """Find archives, each with the name that it is loaded under, if not its own."""
    wanted = [part.strip() for part in (config.load_models or "").split(",") if part.strip()]
    snapshot = {
        (name, model.mar_name) for name, versions in told.items() for model in versions.values()
    }
    if config.model_snapshot is not None:
        return _in_store(((name, place) for name, place in sorted(snapshot)), store, notes)
    if not wanted or any(part.lower() == "all" for part in wanted):
        paths = sorted(store.iterdir())
        return [(None, path) for path in paths if _is_archive(path)]
    models = [InitialModel.parse(part) for part in wanted]
    return _in_store(((model.name, model.location) for model in models), store, notes)


def _in_store(
    named: Iterable[tuple[str | None, str]], store: Path, notes: list[Note]
) -> list[tuple[str | None, Path]]:
    found: list[tuple[str | None, Path]] = []
    for name, location in named:
        path = store / location
        if "://" in location:
            message = "left out: download it into the model store, and migrate again."
            notes.append(Note(subject=location, message=message))
        elif not path.exists():
            notes.append(Note(subject=location, message="left out: it is not in the model store."))
        else:
            found.append((name, path))
    return found


def _is_archive(path: Path) -> bool:
    if path.is_dir():
        return not path.name.startswith(".")
    return path.name.endswith(_ENDINGS)


def _add_models(
    plan: Plan,
    config: Config,
    told: StartupModels,
    archives: list[tuple[str | None, Path]],
) -> None:
    found: dict[str, dict[str, ArchiveFacts]] = {}
    for given_name, path in archives:
        facts = read_facts(path, plan.notes)
        if facts is None:
            continue
        name = given_name or facts.name
        if not _is_name(name, path.name, plan.notes):
            continue
        if facts.version in found.setdefault(name, {}):
            other = found[name][facts.version].path.name
            message = f"left out: {other} is version {facts.version} of {name!r} too."
            plan.notes.append(Note(subject=path.name, message=message))
            continue
        found[name][facts.version] = facts
    for name, versions in found.items():
        numbers = number_versions(list(versions))
        for version, facts in versions.items():
            number = numbers[version]
            known = told.get(name, {})
            model = known.get(version)
            if not _add_model(plan, facts, name=name, version=number, config=config, told=model):
                continue
            _note_version(plan, facts, version=number, told=model, count=len(versions))


def _add_model(
    plan: Plan,
    facts: ArchiveFacts,
    *,
    name: str,
    version: int,
    config: Config,
    told: StartupModel | None,
) -> bool:
    """Add the model file of an archive, of one kind or the other; tell whether there is one."""
    place = PurePosixPath(f"models/{name}-{version}")
    subject = facts.path.name
    try:
        language = find_language(facts, config)
        made = None if language is None else to_language_keys(language, facts.path, folder=place)
    except TorchLoomError as error:
        plan.notes.append(Note(subject=subject, message=f"left out: {error.message}"))
        return False
    if language is None or made is None:
        file, notes = to_model_file(
            facts, name=name, version=version, config=config, told=told, metrics=plan.metrics
        )
    else:
        common, notes = to_common_keys(facts, config=config, told=told, lost=LOST_BY_LANGUAGE)
        said = {key: value for key, value in common.items() if value is not None}
        file = {"name": name, "version": version, "kind": "llm", **made.keys, **said}
        notes += note_language(language, name=name, subject=subject)
        if made.is_unpacked:
            plan.models[place] = facts.path
    plan.documents[place.with_name(f"{place.name}.yaml")] = file
    plan.notes += notes
    return True


def _is_name(name: str, subject: str, notes: list[Note]) -> bool:
    """Tell whether a name can be one here; it becomes a file's, so that it must lead nowhere."""
    if re.fullmatch(NAME_PATTERN, name):
        return True
    message = f"left out: {name!r} can be no name. Letters, digits, '_', '.' and '-' make one."
    notes.append(Note(subject=subject, message=message))
    return False


def _note_version(
    plan: Plan, facts: ArchiveFacts, *, version: int, told: StartupModel | None, count: int
) -> None:
    subject = facts.path.name
    if facts.version not in {str(version), f"{version}.0"}:
        message = f"its version {facts.version!r} is {version} here; handlers are told the old one."
        plan.notes.append(Note(subject=subject, message=message))
    if told is not None and told.default_version and count > 1:
        message = f"it was the default version: route calls without a version to {version}."
        plan.notes.append(Note(subject=subject, message=message))


def _add_workflow(plan: Plan, path: Path, *, model_store: Path, target: Path) -> None:
    subject = path.name
    try:
        specification = Specification.read(path)
    except TorchLoomError as error:
        plan.notes.append(Note(subject=subject, message=f"left out: {error.message}"))
        return
    name = specification.name
    if not all(_is_name(each, subject, plan.notes) for each in (name, *specification.graph)):
        return
    folder = PurePosixPath(f"workflows/{name}")
    if specification.functions:
        plan.unpacked[folder] = path
    for node in specification.nodes:
        source = target / folder if node.url is None else model_store / node.url
        if node.url is not None and ("://" in node.url or not source.exists()):
            message = f"{node.name}: {node.url} is not in the model store; put it there."
            plan.notes.append(Note(subject=subject, message=message))
        file = to_node_model(node, source=source)
        plan.documents[PurePosixPath(f"models/{file['name']}.yaml")] = file
    plan.documents[PurePosixPath(f"workflows/{name}.yaml")] = to_workflow_file(specification)
    message = (
        "its input is `body`, or `fields` for those of a form. Outputs are JSON: read `.body` of a "
        "node in place of `.value` for bytes."
    )
    plan.notes.append(Note(subject=subject, message=message))
