"""`torchloom dev`: serves a handler while it is being written. Knows not how it is served."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, get_args

from torchloom_api.cli.archive import add_model_files
from torchloom_api.cli.parser_command import make_command
from torchloom_models.archive.field import Envelope


_EPILOG: Final = """examples:
  torchloom dev handler.py
  torchloom dev handler.py:predict --serialized-file weights/net.pt --port 9000
  torchloom dev unpacked/                          # with a MAR-INF/MANIFEST.json, or without
  torchloom dev image_classifier --model-file net.py --serialized-file net.pth
"""

_MAX_PORT: Final = 65_535


def main(words: Sequence[str], prog: str) -> int:
    """Serve until Ctrl-C. Gives the exit code."""
    arguments = _make_parser(prog).parse_args(words)
    from torchloom_api.cli.dev_job import carry_out  # noqa: PLC0415 - not needed for --help

    return carry_out(arguments)


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve a handler of TorchServe on this machine while it is being written: a "
        "change of its files is served at once, and breakpoint() stops in this terminal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("target", metavar="HANDLER", help="file.py, file.py:function, a folder, or a built-in name")
    add("--name", help="name of the model, in its address (default: the manifest's, or the file's)")
    add("--handler", help="of a folder, in place of what its manifest says")
    add_model_files(parser)
    add("--envelope", choices=get_args(Envelope), help="form of the bodies that clients send")
    add("--port", type=_port, default=8080, help="of 127.0.0.1; 0: any free one (default: 8080)")
    add("--management-port", type=_port, help="describe models here (default: the same port)")
    add(
        "--debugpy", type=_port, metavar="PORT", help="wait there for a debugger, such as VS Code's"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise ValueError
    return port


dev_command = make_command(
    "dev", main, summary="Serve a handler while it is being written: reload and breakpoints."
)
