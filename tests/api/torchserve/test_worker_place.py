"""On which devices a model's workers go."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.limits import Limits
from torchloom_api.torchserve.worker_place import choose_devices, settle_place


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
    assert choose_devices(limits, gpus) == devices
