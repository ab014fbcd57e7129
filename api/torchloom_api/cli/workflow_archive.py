"""`torchloom workflow-archive`: everything that torch-workflow-archiver does."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.parser_command import make_command
from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.workflow_archiver import (
    WorkflowArchiverConfig,
    write_workflow_archive,
)


def main(words: Sequence[str], prog: str) -> int:
    """Write an archive as the words say. Gives 0, or 1 with the reason on standard error."""
    arguments = _make_parser(prog).parse_args(words)
    logging.basicConfig(format="%(levelname)s - %(message)s")
    try:
        write_workflow_archive(WorkflowArchiverConfig(**vars(arguments)))
    except (ArchiverError, OSError) as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a reason, no trace
        return ExitCode.FAILED
    return ExitCode.OK


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="Write a workflow's files into an archive that a server loads."
    )
    add = parser.add_argument
    add("--workflow-name", required=True, help="name of the workflow, and of the file")
    add("--spec-file", required=True, help="YAML file with the workflow's models and graph")
    add("--handler", help="Python file with the workflow's functions")
    add("--export-path", default=".", help="folder to write to (default: the current one)")
    add("-f", "--force", action="store_true", help="replace an archive that is there")
    add("--extra-files", help="more files, folders (their contents) and patterns, by commas")
    return parser


workflow_archive_command = make_command(
    "workflow-archive",
    main,
    summary="Write a workflow archive (.war), as torch-workflow-archiver does.",
)
