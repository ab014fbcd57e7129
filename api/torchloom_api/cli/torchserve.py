"""`torchloom torchserve`: TorchServe's own command line. Knows not how its API serves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from torchloom import garbage
from torchloom_api.cli.parser_command import make_command


def main(words: Sequence[str], prog: str) -> int:
    """Start or stop a server as the words say. Gives the exit code."""
    arguments = _make_parser(prog).parse_args(words)
    with garbage.importing():
        from torchloom_api.cli.torchserve_job import carry_out  # noqa: PLC0415 - not for --help

    return carry_out(words, arguments)


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="Serve model archives behind TorchServe's API."
    )
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("-v", "--version", action="store_true", help="print the version")
    verbs.add_argument("--start", action="store_true", help="start (so do no verbs at all)")
    verbs.add_argument("--stop", action="store_true", help="stop; with --foreground, and wait")
    add = parser.add_argument
    add("--ts-config", help="config.properties; TS_CONFIG_FILE wins over it")
    add("--model-store", help="folder of model archives")
    add("--workflow-store", help="folder of workflow archives (default: the model store)")
    add("--models", nargs="+", metavar="[NAME=]LOCATION", help="what to load at the start; or all")
    add("--log-config", help="log4j2.xml")
    add("--cpp-log-config", help="means nothing here")
    add("--foreground", action="store_true", help="do not go to the background")
    add("--no-config-snapshots", "--ncs", action="store_true", help="write and read no snapshots")
    add("--plugins-path", "--ppath", help="means nothing here: plugins are Java's")
    add("--disable-token-auth", "--dt", action="store_true", help="ask for no tokens")
    add("--enable-model-api", action="store_true", help="let models be registered and removed")
    return parser


torchserve_command = make_command(
    "torchserve", main, summary="Serve model archives behind TorchServe's API: its command line."
)
