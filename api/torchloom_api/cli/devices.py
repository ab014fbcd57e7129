"""`torchloom devices`: what models can run on, here or on a server. Imports no framework."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import rich_click as click

from torchloom_api.cli.screen import print_json, print_table


_GIB = 1024**3


@click.command("devices")
@click.option("--server", envvar="TORCHLOOM_SERVER", help="Ask this server, not this machine.")
@click.option("--api-key", envvar="TORCHLOOM_API_KEY", help="Key of a server that asks for one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def devices_command(*, server: str | None, api_key: str | None, as_json: bool) -> None:
    """List the devices, named as model files name them."""
    devices = _ask(server, api_key) if server else _look()
    if as_json:
        print_json(devices)
        return
    columns = ("device", "name", "cores", "memory", "free", "load")
    print_table(columns, [_to_row(device) for device in devices])


def _look() -> list[Mapping[str, object]]:
    import msgspec  # noqa: PLC0415 - not needed for --help

    from torchloom_api.machine import find_devices  # noqa: PLC0415 - the same

    return [msgspec.to_builtins(device) for device in asyncio.run(find_devices())]


def _ask(server: str, api_key: str | None) -> list[Mapping[str, object]]:
    from torchloom_api.cli.client import Client  # noqa: PLC0415 - httpx is slow to import

    with Client(server, api_key=api_key) as client:
        items = client.show("/api/devices")["items"]
    assert isinstance(items, list)
    return items


def _to_row(device: Mapping[str, object]) -> tuple[object, ...]:
    load = device.get("load")
    return (
        device["device"],
        device["name"],
        device.get("cores"),
        _to_size(device.get("memory")),
        _to_size(device.get("free_memory")),
        f"{load:.0%}" if isinstance(load, float) else None,
    )


def _to_size(value: object) -> str | None:
    return f"{value / _GIB:.1f} GiB" if isinstance(value, int) else None
