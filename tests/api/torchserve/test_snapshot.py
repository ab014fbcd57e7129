"""Snapshots in TorchServe's format. The golden text is what TorchServe 0.12.0 wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from torchloom_api.torchserve.config_loading import load_config
from torchloom_api.torchserve.snapshot import InvalidSnapshot, Snapshot, newest
from torchloom_api.torchserve.startup_model import StartupModel


NOW = datetime(2026, 11, 26, 11, 49, 43, 861_000, tzinfo=UTC)

NOOP = StartupModel(
    default_version=True,
    mar_name="noop.mar",
    min_workers=2,
    max_workers=2,
    batch_size=1,
    max_batch_delay=100,
    response_timeout=120,
    startup_timeout=120,
    runtime_type="python",
)

GOLDEN = (
    r'model_snapshot={\n  "name"\: "20261126114943861-startup.cfg",\n  "modelCount"\: 1,\n  '
    r'"created"\: 1795693783861,\n  "models"\: {\n    "noop"\: {\n      "1.0"\: {\n        '
    r'"defaultVersion"\: true,\n        "marName"\: "noop.mar",\n        "minWorkers"\: 2,\n'
    r'        "maxWorkers"\: 2,\n        "batchSize"\: 1,\n        "maxBatchDelay"\: 100,\n'
    r'        "responseTimeout"\: 120,\n        "startupTimeout"\: 120,\n        '
    r'"runtimeType"\: "python"\n      }\n    }\n  }\n}'
)


def _take() -> Snapshot:
    return Snapshot.take({"noop": {"1.0": NOOP}}, moment="startup", now=NOW)


def test_writes_what_torchserve_writes() -> None:
    """Comments, the given keys, and the models as JSON, escaped as Java does."""
    given = {"inference_address": "http://127.0.0.1:9080", "model_snapshot": "old"}
    text = _take().write(given, now=NOW)
    assert text.splitlines() == [
        "#Saving snapshot",
        "#Thu Nov 26 11:49:43 UTC 2026",
        r"inference_address=http\://127.0.0.1\:9080",
        GOLDEN,
    ]


def test_reads_what_it_has_written() -> None:
    """A snapshot is a config.properties too: it can be given to --ts-config."""
    loaded = load_config(_take().write({"job_queue_size": "7"}, now=NOW))
    assert loaded.config.job_queue_size == 7
    assert loaded.config.model_snapshot is not None
    assert Snapshot.read(loaded.config.model_snapshot) == _take()


def test_reads_what_users_of_kserve_write_by_hand() -> None:
    """They have no time, now and then no name, numbers as texts, and keys that nobody knows."""
    snapshot = Snapshot.read(
        '{"name":"startup.cfg","modelCount":1,"models":{"mnist":{"1.0":{"defaultVersion":true,'
        '"marName":"mnist.mar","minWorkers":1,"maxWorkers":5,"batchSize":5,"maxBatchDelay":200,'
        '"responseTimeout":60}}}}'
    )
    assert snapshot.name == "startup.cfg"
    assert snapshot.models["mnist"]["1.0"] == StartupModel(
        default_version=True,
        mar_name="mnist.mar",
        min_workers=1,
        max_workers=5,
        batch_size=5,
        max_batch_delay=200,
        response_timeout=60,
    )
    text = '{"models": {"m": {"1": {"marName": "m.mar", "minWorkers": "2", "about": "me"}}}}'
    assert Snapshot.read(text).models["m"]["1"].min_workers == 2


def test_counts_versions() -> None:
    """A model with two versions counts as two."""
    models = {"noop": {"1.0": NOOP, "2.0": NOOP}}
    assert '"modelCount": 2' in Snapshot.take(models, moment="snapshot", now=NOW).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"name": 1, "created": 1, "models": {}}',
        '{"name": "a", "created": "now", "models": {}}',
        '{"name": "a", "modelCount": 0}',
        '{"name": "a", "created": 1, "models": {"m": {"1": {}}}}',
    ],
)
def test_refuses_what_is_no_snapshot(text: str) -> None:
    """A broken snapshot keeps the server from starting, with the reason."""
    with pytest.raises(InvalidSnapshot, match="model_snapshot cannot be read"):
        Snapshot.read(text)


def test_misses_archives_by_name() -> None:
    """Every archive that is gone is named, with its model."""
    _take().require_archives({"noop.mar", "other.mar"}.__contains__)
    with pytest.raises(InvalidSnapshot, match=r"noop\.mar \(model 'noop', version 1\.0\)"):
        _take().require_archives({"other.mar"}.__contains__)


def test_finds_the_newest_by_its_name() -> None:
    """The time in the name counts, whatever kind it is; other files are none of them."""
    names = [
        "20261126114943861-startup.cfg",
        "20261126114943862-shutdown.cfg",
        "20251126114943999-snapshot.cfg",
        "99999999999999999-other.cfg",
        "notes.txt",
    ]
    assert newest(names) == "20261126114943862-shutdown.cfg"
    assert newest(["notes.txt"]) is None
