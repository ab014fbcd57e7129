"""Settings: all that a start of TorchServe's API decides, from command line, file and environment.

Reads the configuration's file and the newest snapshot; starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.archive_url import find_file
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.config_loading import Loaded, load_config
from torchloom_api.torchserve.snapshot import Snapshot, newest


_ALL: Final = "all"

_MISSING_STORE: Final = "Missing mandatory parameter --model-store"


class CannotStart(TorchLoomError):
    """The command line cannot be carried out; the message is TorchServe's own."""

    title = "TorchServe's API cannot start"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What `torchserve --start` was told. None, or empty: not told."""

    ts_config: str | None = None
    model_store: str | None = None
    workflow_store: str | None = None
    models: tuple[str, ...] = ()
    log_config: str | None = None
    cpp_log_config: str | None = None
    has_snapshots: bool = True
    plugins_path: str | None = None
    disable_token_auth: bool = False
    enable_model_api: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialModel:
    """A model to load at the start: where it is, and its name if not the archive's."""

    location: str
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> InitialModel:
        """Read `LOCATION` or `NAME=LOCATION`; a URL may hold `=`."""
        name, equals, location = text.partition("=")
        if not equals or "/" in name or ":" in name:
            return cls(location=text.strip())
        return cls(location=location.strip(), name=name.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchServeSettings:
    """What the API is started with. Paths are absolute, and the model store is there.

    `restored` is a snapshot whose models are loaded in place of `models`. `given` holds the keys
    that snapshots repeat.
    """

    config: Config
    given: Mapping[str, str]
    model_store: Path
    workflow_store: Path
    log_location: Path
    metrics_location: Path
    key_file: Path
    models: tuple[InitialModel, ...] = ()
    loads_all: bool = False
    restored: Snapshot | None = None
    has_snapshots: bool = True
    log_config: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def snapshot_folder(self) -> Path:
        """Give the folder that snapshots are kept in."""
        return _snapshot_folder(self.log_location)


def read_settings(
    command_line: CommandLine, *, environment: Mapping[str, str], folder: Path
) -> TorchServeSettings:
    """Check the command line in TorchServe's order, and read what it names, relative to `folder`.

    Raises CannotStart in TorchServe's words, InvalidSettings for the configuration's faults, and
    InvalidSnapshot.
    """
    named = environment.get("TS_CONFIG_FILE") or command_line.ts_config
    log_location = folder / environment.get("LOG_LOCATION", "logs")
    if named is not None and not (folder / named).is_file():
        raise CannotStart(f"--ts-config file not found: {named}")
    _require_file("--log-config", command_line.log_config, folder)
    _require_file("--cpp-log-config", command_line.cpp_log_config, folder)
    if named is None and not command_line.model_store:
        raise CannotStart(_MISSING_STORE)  # a snapshot would know one, but is not asked for it
    restarted = None
    if named is None and command_line.has_snapshots:
        restarted = _find_newest(_snapshot_folder(log_location))
    file = folder / named if named is not None else restarted
    loaded = _load(file, named or str(file), command_line, environment)
    config = loaded.config
    restored = None if config.model_snapshot is None else Snapshot.read(config.model_snapshot)
    model_store = _find_store("--model-store", config.model_store, folder)
    if model_store is None:
        raise CannotStart(_MISSING_STORE)
    workflow_store, lacking = _find_workflow_store(command_line, config, folder)
    if restored is not None:
        store = model_store.resolve()
        restored.require_archives(lambda file: find_file(store, file) is not None)
    wanted = [part for part in (config.load_models or "").split(",") if part.strip()]
    loads_all = any(part.strip().lower() == _ALL for part in wanted)
    return TorchServeSettings(
        config=config,
        given=_complete(loaded.given),
        model_store=model_store,
        workflow_store=workflow_store or model_store,
        log_location=log_location,
        metrics_location=folder / environment.get("METRICS_LOCATION", "logs"),
        key_file=folder / "key_file.json",
        models=() if loads_all else tuple(InitialModel.parse(part) for part in wanted),
        loads_all=loads_all,
        restored=restored,
        has_snapshots=command_line.has_snapshots,
        log_config=folder / command_line.log_config if command_line.log_config else None,
        warnings=(*loaded.warnings, *lacking),
    )


def _complete(given: Mapping[str, str]) -> Mapping[str, str]:
    """Say what snapshots say in any case: where workflows are looked for."""
    store = given.get("model_store")
    return given if store is None else {"workflow_store": store, **given}


def _load(
    file: Path | None, name: str, command_line: CommandLine, environment: Mapping[str, str]
) -> Loaded:
    arguments = _to_arguments(command_line)
    if file is None:
        return load_config(arguments=arguments, environment=environment)
    # Java reads these files as Latin-1; whatever else is in them is escaped.
    text = file.read_text(encoding="latin-1")
    return load_config(text, file=name, arguments=arguments, environment=environment)


def _to_arguments(command_line: CommandLine) -> dict[str, str]:
    """Give the command line in the words of the file; it wins over that."""
    values = {
        "model_store": command_line.model_store,
        "workflow_store": command_line.workflow_store,
        "load_models": ",".join(command_line.models),
        "cpp_log_config": command_line.cpp_log_config,
        "plugins_path": command_line.plugins_path,
        "disable_token_authorization": "true" if command_line.disable_token_auth else None,
        "enable_model_api": "true" if command_line.enable_model_api else None,
    }
    return {key: value for key, value in values.items() if value}


def _find_store(option: str, text: str | None, folder: Path) -> Path | None:
    if not text:
        return None
    store = (folder / text).resolve()
    if not store.is_dir():
        raise CannotStart(f"{option} directory not found: {text}")
    return store


def _find_workflow_store(
    command_line: CommandLine, config: Config, folder: Path
) -> tuple[Path | None, Sequence[str]]:
    """Give the store of workflows, and what to warn of.

    One of the file need not be there: the configuration of TorchServe's own image names one that
    nobody has made. Raises CannotStart for what is no folder.
    """
    if command_line.workflow_store or not config.workflow_store:
        return _find_store("--workflow-store", config.workflow_store, folder), ()
    store = (folder / config.workflow_store).resolve()
    if store.is_dir():
        return store, ()
    if store.exists():
        message = f"workflow_store: {config.workflow_store!r} is no folder. Name one, or none."
        raise CannotStart(message)
    return store, [f"workflow_store: there is no folder {config.workflow_store!r} so far."]


def _require_file(option: str, text: str | None, folder: Path) -> None:
    if text is not None and not (folder / text).is_file():
        raise CannotStart(f"{option} file not found: {(folder / text).absolute()}")


def _snapshot_folder(log_location: Path) -> Path:
    return log_location / "config"


def _find_newest(folder: Path) -> Path | None:
    names: Sequence[str] = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    name = newest(names)
    return None if name is None else folder / name
