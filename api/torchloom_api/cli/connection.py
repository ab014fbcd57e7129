"""The options that say which server a command talks to, and the connection that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable

import rich_click as click


DEFAULT_URL = "http://127.0.0.1:8080"


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--server` and `--api-key`; the command is given `client`, an open Client."""

    @click.option(
        "--server",
        envvar="TORCHLOOM_SERVER",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the server.",
    )
    @click.option(
        "--api-key",
        envvar="TORCHLOOM_API_KEY",
        show_envvar=True,
        help="Key of a server that asks for one.",
    )
    @functools.wraps(command)
    def connected(*args: object, server: str, api_key: str | None, **options: object) -> None:
        from torchloom_api.cli.client import Client  # noqa: PLC0415 - httpx is slow to import

        with Client(server, api_key=api_key) as client:
            command(*args, client=client, **options)

    return connected
