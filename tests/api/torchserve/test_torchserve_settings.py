"""All that a start decides, from command line, file, environment and snapshots."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.settings import (
    CannotStart,
    CommandLine,
    InitialModel,
    TorchServeSettings,
    read_settings,
)
from torchloom_api.torchserve.snapshot import InvalidSnapshot, Snapshot
from torchloom_api.torchserve.startup_model import StartupModel


NOW = datetime(2026, 11, 26, 11, 49, 43, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a working folder with two stores."""
    (tmp_path / "models").mkdir()
    (tmp_path / "workflows").mkdir()
    return tmp_path


def _read(
    folder: Path, environment: dict[str, str] | None = None, **options: object
) -> TorchServeSettings:
    command_line = CommandLine(**options)  # type: ignore[arg-type]
    return read_settings(command_line, environment=environment or {}, folder=folder)


def _snapshot(folder: Path) -> Path:
    models = {"noop": {"1.0": StartupModel(mar_name="noop.mar", default_version=True)}}
    snapshot = Snapshot.take(models, moment="startup", now=NOW)
    file = folder / "logs" / "config" / snapshot.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(snapshot.write({"model_store": "models", "job_queue_size": "7"}, now=NOW))
    return file


def test_reads_a_command_line_alone(folder: Path) -> None:
    """A store and models are enough; the rest has defaults."""
    models = ("noop.mar", "b=c.mar", "https://h/a.mar?x=1")
    settings = _read(folder, model_store="models", models=models, disable_token_auth=True)
    assert settings.model_store == settings.workflow_store == folder / "models"
    assert settings.models == (
        InitialModel(location="noop.mar"),
        InitialModel(location="c.mar", name="b"),
        InitialModel(location="https://h/a.mar?x=1"),
    )
    assert settings.config.disable_token_authorization
    assert not settings.config.enable_model_api
    assert settings.log_location == settings.metrics_location == folder / "logs"
    assert settings.snapshot_folder == folder / "logs" / "config"
    assert settings.has_snapshots
    assert settings.restored is None


@pytest.mark.parametrize("word", ["all", "ALL"])
def test_loads_all_models(folder: Path, word: str) -> None:
    """`all` is a word of its own, in capitals too."""
    settings = _read(folder, model_store="models", models=(word,))
    assert settings.loads_all
    assert settings.models == ()


def test_reads_the_file_that_the_environment_names(folder: Path) -> None:
    """TS_CONFIG_FILE wins over --ts-config; folders of logs come from the environment too."""
    (folder / "a").write_text("model_store=models\njob_queue_size=1\nworkflow_store=workflows\n")
    (folder / "b").write_text("model_store=models\njob_queue_size=2\n")
    assert _read(folder, {"TS_CONFIG_FILE": "b"}, ts_config="a").config.job_queue_size == 2
    variables = {"LOG_LOCATION": "x", "METRICS_LOCATION": "/y"}
    settings = _read(folder, variables, ts_config="a")
    assert settings.config.job_queue_size == 1
    assert settings.workflow_store == folder / "workflows"
    assert (settings.log_location, settings.metrics_location) == (folder / "x", Path("/y"))
    settings = _read(folder, {"LOG_LOCATION": "x"}, ts_config="a")
    assert settings.metrics_location == folder / "logs"  # that is log4j's, as TorchServe has it


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Missing mandatory parameter --model-store"),
        ({"model_store": "nope"}, "--model-store directory not found: nope"),
        ({"model_store": "models", "ts_config": "nope"}, "--ts-config file not found: nope"),
        (
            {"model_store": "models", "workflow_store": "nope"},
            "--workflow-store directory not found: nope",
        ),
    ],
)
def test_refuses_in_torchserves_words(folder: Path, options: dict[str, object], says: str) -> None:
    """Scripts look for these lines."""
    with pytest.raises(CannotStart) as caught:
        _read(folder, **options)
    assert caught.value.message == says


@pytest.mark.parametrize("option", ["log_config", "cpp_log_config"])
def test_misses_a_log_configuration_by_its_whole_path(folder: Path, option: str) -> None:
    """A quirk: these files are named by their absolute paths."""
    with pytest.raises(CannotStart) as caught:
        _read(folder, model_store="models", **{option: "nope"})
    said = option.replace("_", "-")
    assert caught.value.message == f"--{said} file not found: {folder}/nope"


def test_starts_without_the_workflow_store_that_a_file_names(folder: Path) -> None:
    """The configuration of TorchServe's own image names one that nobody has made."""
    (folder / "a").write_text("model_store=models\nworkflow_store=wf-store\n")
    settings = _read(folder, ts_config="a")
    assert settings.workflow_store == folder / "wf-store"
    assert settings.warnings == ("workflow_store: there is no folder 'wf-store' so far.",)
    (folder / "wf-store").mkdir()
    assert not _read(folder, ts_config="a").warnings


def test_refuses_a_workflow_store_that_is_no_folder(folder: Path) -> None:
    """No workflow could be fetched into it; it is told at the start."""
    (folder / "a").write_text("model_store=models\nworkflow_store=wf-store\n")
    (folder / "wf-store").write_text("")
    with pytest.raises(CannotStart, match="workflow_store: 'wf-store' is no folder"):
        _read(folder, ts_config="a")


def test_names_the_file_of_a_bad_value_as_it_was_given(folder: Path) -> None:
    """The fault's file is what the caller wrote."""
    (folder / "a").write_text("model_store=models\njob_queue_size=x\n")
    with pytest.raises(InvalidSettings, match=r"a:2: job_queue_size"):
        _read(folder, ts_config="a")


def test_restarts_from_the_newest_snapshot(folder: Path) -> None:
    """Without a file, and unless --ncs is given, the last state comes back."""
    (folder / "models" / "noop.mar").write_text("")
    _snapshot(folder)
    settings = _read(folder, model_store="models")
    assert settings.restored is not None
    assert settings.restored.models["noop"]["1.0"].mar_name == "noop.mar"
    assert settings.config.job_queue_size == 7
    fresh = _read(folder, model_store="models", has_snapshots=False)
    assert fresh.restored is None
    assert fresh.config.job_queue_size == 100
    with pytest.raises(CannotStart, match="Missing mandatory parameter --model-store"):
        _read(folder)


def test_takes_a_snapshot_as_its_file(folder: Path) -> None:
    """--ts-config may name one."""
    (folder / "models" / "noop.mar").write_text("")
    settings = _read(folder, ts_config=str(_snapshot(folder)), has_snapshots=False)
    assert settings.restored is not None


def test_does_not_restart_without_the_archives(folder: Path) -> None:
    """An archive that is gone ends the start, by name."""
    _snapshot(folder)
    with pytest.raises(InvalidSnapshot, match=r"noop\.mar"):
        _read(folder, model_store="models")
