"""Archives as model files of kind `handler`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torchloom_api.torchserve.archive_file import UnreadableArchive
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.config_loading import load_config
from torchloom_api.torchserve.migration.model_file import (
    ArchiveFacts,
    number_versions,
    to_model_file,
)
from torchloom_api.torchserve.startup_model import StartupModel


Make = Callable[..., Path]

WHOLE = """\
minWorkers: 2
maxWorkers: 4
batchSize: 8
maxBatchDelay: 50
jobQueueSize: 10
deviceType: gpu
deviceIds: [0, 2]
responseTimeout: 77
continuousBatching: true
handler: {profile: true}
"""


@pytest.mark.parametrize("archive_format", ["default", "zip-store", "tgz", "no-archive"])
def test_carries_what_a_model_file_can_say(make_model: Make, archive_format: str) -> None:
    """Workers, batches, queue and devices come over, from every format of archive."""
    path = make_model("m", "3.0", WHOLE, archive_format=archive_format)
    facts = ArchiveFacts.read(path)
    file, notes = to_model_file(facts, name="m", version=3, config=Config())
    assert file == {
        "name": "m",
        "version": 3,
        "kind": "handler",
        "source": str(path),
        "model_version": "3.0",
        "devices": ["cuda:0", "cuda:2"],
        "replicas": {"min": 2, "max": 4},
        "batching": {"max_size": 8, "max_wait_s": 0.05},
        "queue": {"max_size": 10},
        "load_timeout_s": 120,
        "step_timeout_s": 77,
    }
    first, second = map(str, notes)
    assert "follows the load from 2 to 4" in first
    assert "for that, write `replicas: 2`" in first
    assert second.endswith("where its handler reads it: continuousBatching, handler.")


def test_carries_workers_of_several_processes(make_model: Make) -> None:
    """Each has a group of the GPUs, of which a device names the first."""
    config = (
        "parallelType: tp\nparallelLevel: 9\ndeviceType: gpu\ndeviceIds: [0, 1, 2, '3']\n"
        "torchrun: {nproc-per-node: 2, OMP_NUMBER_THREADS: 4, unknown: 1}\n"
    )
    facts = ArchiveFacts.read(make_model("m", config=config))
    file, notes = to_model_file(facts, name="m", version=1, config=Config())

    assert notes == []
    assert file["devices"] == ["cuda:0", "cuda:2"]
    assert file["parallel"] == {
        "type": "tp",
        "level": 2,
        "gpus": [0, 1, 2, 3],
        "torchrun": {"OMP_NUMBER_THREADS": 4},
    }


def test_says_little_for_an_archive_that_says_little(make_model: Make) -> None:
    """TorchServe's bounds of the queue and of times are kept: ours are others."""
    path = make_model("m")
    file, notes = to_model_file(ArchiveFacts.read(path), name="m", version=1, config=Config())
    bounds = {"queue", "load_timeout_s", "step_timeout_s"}
    assert set(file) == {"name", "version", "kind", "source", "model_version", *bounds}
    assert (file["load_timeout_s"], file["step_timeout_s"]) == (120, 120)
    assert file["queue"] == {"max_size": 100}
    assert notes == []


def test_lets_the_server_decide_where_it_does_in_torchserve(make_model: Make) -> None:
    """Batches are the server's, workers the archive's if it names any; as TorchServe has it."""
    told = StartupModel(
        mar_name="m", min_workers=9, max_workers=9, batch_size=3, max_batch_delay=200
    )
    facts = ArchiveFacts.read(make_model("m", config=WHOLE))
    file, _ = to_model_file(facts, name="m", version=1, config=Config(), told=told)
    assert file["batching"] == {"max_size": 3, "max_wait_s": 0.2}
    assert file["replicas"] == {"min": 2, "max": 4}
    bare = ArchiveFacts.read(make_model("n"))
    file, _ = to_model_file(bare, name="n", version=1, config=Config(), told=told)
    assert file["replicas"] == {"min": 9, "max": 9}


def test_takes_the_servers_defaults(make_model: Make) -> None:
    """What config.properties says for all models stands in each file."""
    text = (
        "default_workers_per_model=2\njob_queue_size=7\nservice_envelope=kserve\n"
        "limit_max_image_pixels=false\nts_header_key_sequence_start=x-start"
    )
    config = load_config(text).config
    facts = ArchiveFacts.read(make_model("m", config="deviceType: cpu\n"))
    file, _ = to_model_file(facts, name="m", version=1, config=config)
    assert file["replicas"] == {"min": 2, "max": 2}
    assert file["queue"] == {"max_size": 7}
    assert file["envelope"] == "kserve"
    assert file["limit_image_pixels"] is False
    assert file["sequence_headers"] == {
        "id": "ts_request_sequence_id",
        "start": "x-start",
        "end": "ts_request_sequence_end",
    }
    assert file["devices"] == ["cpu"]


def test_names_a_handler_for_a_folder_without_manifest(store: Path) -> None:
    """The server's default handler is needed there, and missed if there is none."""
    folder = store / "my-model"
    folder.mkdir()
    facts = ArchiveFacts.read(folder)
    assert (facts.name, facts.version) == ("my_model", "1.0")
    config = load_config("default_service_handler=h.py:handle").config
    file, notes = to_model_file(facts, name="m", version=1, config=config)
    assert (file["handler"], notes) == ("h.py:handle", [])
    _, (note,) = to_model_file(facts, name="m", version=1, config=Config())
    assert "add `handler:`" in str(note)


def test_notes_what_is_not_served(make_model: Make, store: Path) -> None:
    """Handlers of the C++ backend, and envelopes of a server's own, are named."""
    (store.parent / "lib.so").write_text("")
    path = make_model("m", handler=str(store.parent / "lib:H"), runtime="LSP")
    config = load_config("service_envelope=mine").config
    _, notes = to_model_file(ArchiveFacts.read(path), name="m", version=1, config=config)
    assert [note.message for note in notes] == [
        "service_envelope=mine is not known here.",
        "it is for the C++ backend, and is not served.",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"no zip", "cannot be opened"), (b"", "cannot be opened")],
)
def test_cannot_read_what_is_no_archive(store: Path, content: bytes, says: str) -> None:
    """A broken file is told, whatever its ending."""
    for name in ("a.mar", "a.tar.gz"):
        (store / name).write_bytes(content)
        with pytest.raises(UnreadableArchive, match=says):
            ArchiveFacts.read(store / name)


@pytest.mark.parametrize(
    ("config", "says"),
    [("- 1\n", "is no mapping"), ("a: [\n", "is no YAML"), ("x" * (1 << 21), "has more than")],
)
def test_cannot_read_a_bad_configuration(make_model: Make, config: str, says: str) -> None:
    """A model-config.yaml that TorchServe would not read is told."""
    path = make_model("m", config=config)
    with pytest.raises(UnreadableArchive, match=says):
        ArchiveFacts.read(path)


@pytest.mark.parametrize(
    ("versions", "numbers"),
    [
        (["1.0"], {"1.0": 1}),
        (["2.0", "3", "10.0.0"], {"2.0": 2, "3": 3, "10.0.0": 10}),
        (["1.0", "1.1"], {"1.0": 1, "1.1": 2}),
        (["1.10", "1.9"], {"1.9": 1, "1.10": 2}),
        (["1", "1.0"], {"1": 1, "1.0": 2}),
        (["beta"], {"beta": 1}),
    ],
)
def test_numbers_versions(versions: list[str], numbers: dict[str, int]) -> None:
    """Whole versions keep their numbers; others are counted in their order."""
    assert number_versions(versions) == numbers
