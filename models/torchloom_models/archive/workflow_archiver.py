"""Workflow archives (`.war`): a specification, its functions and other files, in one zip file.

Takes what torch-workflow-archiver 0.2 takes. Checks no specification: the server does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from torchloom_models.archive.member import by_name, find_extra, to_member
from torchloom_models.archive.packing import check_name, to_manifest, to_target, write_zip


_MANIFEST: Final = PurePosixPath("WAR-INF/MANIFEST.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowArchiverConfig:
    """What goes into a workflow's archive, in the words of torch-workflow-archiver's options."""

    workflow_name: str
    spec_file: str
    handler: str | None = None
    extra_files: str | None = None
    export_path: str = field(default_factory=os.getcwd)
    force: bool = False


def write_workflow_archive(config: WorkflowArchiverConfig) -> Path:
    """Write the archive, whole or not at all, and tell where it is. Raises ArchiverError.

    A workflow without functions needs no handler; then the manifest names none.
    """
    check_name(config.workflow_name, "workflow")
    files = (config.spec_file, config.handler)
    members = [to_member(Path(file)) for file in files if file]
    members += find_extra(config.extra_files)
    name = f"{config.workflow_name}.war"
    target = to_target(config.export_path, name, what="workflow", force=config.force)
    workflow = {"workflowName": config.workflow_name, "specFile": Path(config.spec_file).name}
    if config.handler:
        workflow["handler"] = Path(config.handler).name
    kept = [member for member in by_name(members) if member.name != _MANIFEST]
    write_zip(target, kept, _MANIFEST, to_manifest(workflow=workflow))
    return target
