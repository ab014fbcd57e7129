"""`torchloom serve`: starts a server and tells how that goes. Knows not how it serves."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom import garbage
from torchloom_api.cli.loading import LoadingBoard
from torchloom_api.cli.screen import error_screen, screen


if TYPE_CHECKING:
    from torchloom_api.settings import Settings


_LEVELS = ("debug", "info", "warning", "error")


@click.command("serve")
@click.argument(
    "files",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="[FILE]…",
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="0: any free one.  [default: 8080]")
@click.option("--management", metavar="HOST:PORT", help="Listen here for registrations instead.")
@click.option("--metrics", metavar="HOST:PORT", help="Listen here for metrics instead.")
@click.option("--grpc-port", type=click.IntRange(0, 65_535), help="Serve gRPC here too; 0: any.")
@click.option("--allow-open", is_flag=True, default=None, help="Listen beyond this machine.")
@click.option(
    "--api-keys",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="YAML file of the keys that requests must carry.  [default: TORCHLOOM_API_KEY, if set]",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False),
    help="Folder to keep things in.  [default: .torchloom]",
)
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that files may name.")
@click.option(
    "--memory",
    metavar="DEVICE=SIZE",
    multiple=True,
    help="The most that models may hold there, such as cpu=12GiB.  [default: what there is]",
)
@click.option(
    "--evict/--no-evict", default=None, help="Let idle models make room for others.  [default: no]"
)
@click.option("--grace-s", type=click.FloatRange(0), help="Time to finish when told to end.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with any of the settings (docs/operations.md).",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the addresses here, as JSON, once everything serves.",
)
@click.option("--log-level", type=click.Choice(_LEVELS), default="warning", show_default=True)
def serve_command(
    *,
    files: tuple[Path, ...],
    host: str | None,
    port: int | None,
    functions: tuple[str, ...],
    memory: tuple[str, ...],
    settings_file: Path | None,
    ready_file: Path | None,
    log_level: str,
    **others: object,
) -> None:
    """Serve workflow and model FILES, and what the store holds.

    Prints the addresses once every model is loaded, compiled and warmed up. Ctrl-C, or SIGTERM,
    lets accepted work finish; a second one ends at once.
    """
    with garbage.importing():
        from torchloom_api.key_file import load_keys  # noqa: PLC0415 - not needed for --help
        from torchloom_api.server import run_server  # noqa: PLC0415 - the server is slow to import
        from torchloom_api.settings import read_pairs  # noqa: PLC0415 - not needed for --help

    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    budgets = read_pairs(",".join(memory)) if memory else None
    arguments = {**others, "functions": functions or None, "memory": budgets}
    settings = _load_settings(settings_file, host=host, port=port, arguments=arguments)
    keys = load_keys(settings.api_keys, os.environ)
    with LoadingBoard() as board:
        run_server(
            settings,
            files,
            keys=keys,
            on_progress=board.report,
            on_bound=_tell_bound,
            on_ready=_make_welcome(board, ready_file),
        )
    error_screen.print("The server has ended.")


def _load_settings(
    file: Path | None,
    *,
    host: str | None,
    port: int | None,
    arguments: Mapping[str, object],
) -> Settings:
    """Load them; `--host` goes for both ports, which go before the addresses of the file."""
    from torchloom_api.settings import Address, Settings  # noqa: PLC0415 - not needed for --help
    from torchloom_workflows.loader import load_document  # noqa: PLC0415 - the same

    arguments = dict(arguments)
    grpc_port = arguments.pop("grpc_port", None)
    document = None if file is None else load_document(file.read_bytes(), str(file))
    settings = Settings.load(document=document, environment=os.environ, arguments=arguments)
    if host is None and port is None and grpc_port is None:
        return settings
    there = settings.addresses["inference"]
    place = Address(host or there.host, there.port if port is None else port)
    given = {**arguments, "inference": str(place)}
    if isinstance(grpc_port, int):
        given["grpc"] = str(Address(place.host, grpc_port))
    return Settings.load(document=document, environment=os.environ, arguments=given)


def _tell_bound(urls: Mapping[str, str]) -> None:
    error_screen.print(f"Loading; not ready yet: {urls['inference']}", highlight=False)


def _make_welcome(
    board: LoadingBoard, ready_file: Path | None
) -> Callable[[Mapping[str, str]], None]:
    def welcome(urls: Mapping[str, str]) -> None:
        board.finish()
        if ready_file is not None:
            _write_ready_file(ready_file, urls)
        # Standard output, so that a script that reads it learns the moment and the port.
        screen.print(f"Ready: {urls['inference']}", highlight=False, soft_wrap=True)
        for title, url in _pages(urls).items():
            error_screen.print(f"  {title:<11}{url}", highlight=False, soft_wrap=True)
        screen.file.flush()

    return welcome


def _pages(urls: Mapping[str, str]) -> dict[str, str]:
    pages = {
        "workflows": f"{urls['inference']}/api/workflows",
        "docs": f"{urls['inference']}/api/docs",
        "management": f"{urls['management']}/api/models",
        "metrics": f"{urls['metrics']}/metrics",
    }
    return {**pages, "grpc": urls["grpc"]} if "grpc" in urls else pages


def _write_ready_file(file: Path, urls: Mapping[str, str]) -> None:
    """Write it whole or not at all: whoever waits for it reads it at once."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    ready = {"url": urls["inference"], "urls": dict(urls), "pid": os.getpid()}
    temporary.write_text(json.dumps(ready) + "\n")
    temporary.replace(file)
