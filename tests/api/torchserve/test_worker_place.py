"""On which devices a model's workers go."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.limits import Limits
from torchloom_api.torchserve.worker_place import (
    NotEnoughGpus,
    choose_devices,
    choose_gpus,
    fit,
    settle_place,
)


GPUS = [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("limits", "gpus", "devices"),
    [
        (Limits(min_workers=2), [], ["cpu"]),
        (Limits(min_workers=2, device_type="gpu"), [], ["cpu"]),
        (Limits(min_workers=2, device_type="cpu"), GPUS, ["cpu"]),
        (Limits(min_workers=2), GPUS, ["cuda:0", "cuda:1"]),
        (Limits(), GPUS, ["cuda:0"]),
        (Limits(min_workers=9, device_ids=(3, 1)), GPUS, ["cuda:3", "cuda:1"]),
        (Limits(min_workers=9, parallel_type="tp", parallel_level=2), GPUS, ["cuda:0", "cuda:2"]),
        (
            Limits(min_workers=1, parallel_type="custom", parallel_level=2, device_ids=(4, 0)),
            GPUS,
            ["cuda:4"],
        ),
        (Limits(min_workers=1, parallel_type="tp", parallel_level=2), [], ["cpu"]),
        (
            Limits(min_workers=1, parallel_type="tp", parallel_level=9, device_type="gpu"),
            [],
            ["cpu"],
        ),
        (Limits(min_workers=2, parallel_level=2), GPUS, ["cuda:0", "cuda:1"]),
    ],
)
def test_gives_each_worker_its_gpus(limits: Limits, gpus: list[int], devices: list[str]) -> None:
    """One, or as many as it has processes, named by the first; or the CPU."""
    limits = settle_place(limits, gpus)
    assert choose_devices(limits, choose_gpus(limits, gpus)) == devices


@pytest.mark.parametrize(
    ("limits", "gpus"),
    [
        (Limits(parallel_type="tp", parallel_level=6), GPUS),
        (Limits(parallel_type="pp", parallel_level=2, device_ids=(3,)), GPUS),
        (Limits(parallel_type="custom", parallel_level=2, device_type="gpu"), [0]),
    ],
)
def test_refuses_a_worker_with_more_gpus_than_there_are(limits: Limits, gpus: list[int]) -> None:
    """Where it may use some."""
    with pytest.raises(NotEnoughGpus):
        choose_gpus(limits, gpus)


def test_has_no_more_workers_than_there_are_gpus_for() -> None:
    """Of those that have several; others share GPUs, and all share the CPU."""
    asked = Limits(min_workers=3, max_workers=9, parallel_type="tp", parallel_level=2)
    plain = Limits(min_workers=9, max_workers=9)

    fitted = fit(asked, choose_gpus(asked, GPUS))
    assert (fitted.min_workers, fitted.max_workers) == (2, 2)
    assert fit(asked, []) == asked
    assert fit(plain, GPUS) == plain


@pytest.mark.parametrize(
    ("said", "gpus", "device_type", "device_ids", "devices"),
    [
        ({}, (), "cpu", (), ["cpu"]),
        ({"device_type": "gpu", "device_ids": (0, 1)}, (), "cpu", (), ["cpu"]),
        ({"device_type": "cpu"}, (0, 1), "cpu", (), ["cpu"]),
        ({}, (0, 1), None, (), ["cuda:0", "cuda:1"]),
        ({"device_ids": (1,)}, (0, 1), None, (1,), ["cuda:1"]),
        ({"device_ids": (1, 7)}, (0, 1), None, (), ["cuda:0", "cuda:1"]),
    ],
)
def test_places_workers_where_there_is_something(
    said: dict[str, object],
    gpus: tuple[int, ...],
    device_type: str | None,
    device_ids: tuple[int, ...],
    devices: list[str],
) -> None:
    """What an archive says of GPUs that are not there counts for nothing, as in TorchServe."""
    limits = settle_place(Limits(min_workers=2, **said), gpus)  # type: ignore[arg-type]  # cases

    assert (limits.device_type, limits.device_ids) == (device_type, device_ids)
    assert choose_devices(limits, choose_gpus(limits, gpus)) == devices
