"""Route of devices: what is plugged into this machine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import get

from torchloom_api.machine import DeviceView, find_devices
from torchloom_api.native.access import READING


class DeviceList(msgspec.Struct, frozen=True):
    """Every device of this machine."""

    items: Sequence[DeviceView]


@get("/devices", opt=READING, operation_id="listDevices")
async def list_devices() -> DeviceList:
    """List the devices of this machine, as model files name them."""
    return DeviceList(await find_devices())


#: Every route of this page.
ROUTES = (list_devices,)
