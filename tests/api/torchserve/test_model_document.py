"""What was decided for an archive, as a model file."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.limits import DeviceType, Limits
from torchloom_api.torchserve.model_document import MAX_TIMEOUT_S, to_language_document


def write(
    gpus: Sequence[int] = (), *, is_scaled: bool = False, **limits: object
) -> dict[str, object]:
    """Write the model file of a language model with these limits."""
    decided = Limits(**{"min_workers": 1, "max_workers": 1, **limits})  # type: ignore[arg-type]
    served = Served(name="m", version="2.0", number=2, url="m.mar", limits=decided)
    return to_language_document(served, gpus=gpus, is_scaled=is_scaled)


def test_says_what_was_decided() -> None:
    """Workers, queue and times; it has no batches that would wait for each other."""
    limits = {"startup_timeout_s": 1200, "response_timeout_s": 60, "job_queue_size": 7}

    assert write(**limits, device_type="cpu") == {
        "name": "m",
        "version": 2,
        "kind": "llm",
        "devices": ["cpu"],
        "replicas": 1,
        "queue": {"max_size": 7},
        "load_timeout_s": 1200,
        "step_timeout_s": 60,
    }


@pytest.mark.parametrize(
    ("device_type", "gpus", "devices"),
    [
        ("gpu", (0, 1), ["cuda:0"]),
        (None, (3,), ["cuda:3"]),
        ("cpu", (0,), ["cpu"]),
        ("gpu", (), ["auto"]),
        (None, (), ["auto"]),
        ("cpu", (), ["cpu"]),
    ],
)
def test_chooses_where_it_runs(
    device_type: DeviceType | None, gpus: Sequence[int], devices: list[str]
) -> None:
    """On GPUs as any archive; without one, on the fastest of what there is."""
    assert write(gpus, device_type=device_type)["devices"] == devices


def test_follows_the_load_where_that_is_asked_for() -> None:
    """Within the archive's numbers; otherwise the first of them is kept to."""
    assert write(max_workers=3, is_scaled=True)["replicas"] == {"min": 1, "max": 3}
    assert write(max_workers=3)["replicas"] == 1


def test_keeps_times_within_what_a_model_file_may_say() -> None:
    """TorchServe's may be any number."""
    assert write(startup_timeout_s=10**9)["load_timeout_s"] == MAX_TIMEOUT_S


@pytest.mark.parametrize(
    ("said", "devices"),
    [
        ({"device_ids": (1,)}, ["cuda:1"]),
        ({"device_ids": (7,)}, ["cuda:0"]),
        ({"parallel_type": "tp", "parallel_level": 2}, ["cuda:0"]),
    ],
)
def test_passes_over_gpus_that_are_not_there(said: dict[str, object], devices: list[str]) -> None:
    """As of any archive; it is one process, whatever the archive says of several."""
    assert write((0, 1), **said)["devices"] == devices
