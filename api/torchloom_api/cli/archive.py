"""`torchloom archive`: everything that torch-model-archiver does, with its options and messages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from torchloom_api.cli.archiver_end import end_archiver
from torchloom_api.cli.parser_command import make_command
from torchloom_models.archive.archiver import (
    BUILT_IN_HANDLERS,
    ModelArchiverConfig,
    write_model_archive,
)


_FORMATS: Final = "default: NAME.mar; zip-store: the same, not deflated; tgz: NAME.tar.gz; "


def main(words: Sequence[str], prog: str) -> int:
    """Write an archive as the words say. Gives 0, or 1 with the reason on standard error."""
    arguments = _make_parser(prog).parse_args(words)
    return end_archiver(lambda: write_model_archive(ModelArchiverConfig(**vars(arguments))))


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="Write a model's files into an archive that a server loads."
    )
    add = parser.add_argument
    add("--model-name", required=True, help="name of the model, and of the file")
    add_model_files(parser)
    add(
        "--handler",
        required=True,
        help=f"file, file:function, or one of: {', '.join(sorted(BUILT_IN_HANDLERS))}",
    )
    add(
        "--runtime",
        choices=("python", "python3", "LSP"),
        default="python",
        help="what runs the handler (default: python)",
    )
    add("--export-path", default=".", help="folder to write to (default: the current one)")
    add(
        "--archive-format",
        choices=("tgz", "no-archive", "zip-store", "default"),
        default="default",
        help=f"{_FORMATS}no-archive: a folder NAME",
    )
    add("-f", "--force", action="store_true", help="replace an archive that is there")
    add("-v", "--version", required=True, help="version of the model")
    add("-r", "--requirements-file", help="requirements.txt of the handler")
    return parser


def add_model_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files of a model, besides its handler."""
    add = parser.add_argument
    add("--serialized-file", help="weights or program: .pt, .pth, .onnx, .so …")
    add("--model-file", help="Python file with exactly one class, the model's (eager mode)")
    add("--extra-files", help="more files, folders (their contents) and patterns, by commas")
    add("-c", "--config-file", help="model-config.yaml: batch size, workers, timeouts …")


archive_command = make_command(
    "archive", main, summary="Write a model archive (.mar), as torch-model-archiver does."
)
