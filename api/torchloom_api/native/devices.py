"""Route of devices: what is plugged into this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from litestar import get
from msgspec.structs import replace

from torchloom_api.machine import DeviceView, find_devices
from torchloom_api.native.access import READING
from torchloom_api.native.request import ServiceParam


class DeviceList(msgspec.Struct, frozen=True):
    """Every device of this machine."""

    items: Sequence[DeviceView]


@get("/devices", opt=READING, operation_id="listDevices")
async def list_devices(service: ServiceParam) -> DeviceList:
    """List the devices of this machine, as model files name them."""
    memory = service.orchestrator.memory
    used = memory.used()
    devices = await find_devices()
    return DeviceList([_with_budget(device, memory.budgets, used) for device in devices])


def _with_budget(
    device: DeviceView, budgets: Mapping[str, int], used: Mapping[str, int]
) -> DeviceView:
    place = device.device
    return replace(device, budget=budgets.get(place), used=used.get(place, 0))


#: Every route of this page.
ROUTES = (list_devices,)
