"""Workflow archives, written by hand into a store."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from api_fakes.torchserve import MakeWar


HANDLER = """\
def start(data, context):
    return None if data is None else ["begun"] * len(data)
"""


@pytest.fixture
def make_war(store: Path) -> MakeWar:
    """Give what writes workflow archives into the model store, which is the workflow store too."""

    def make(
        name: str,
        specification: str | None,
        *,
        handler: str | None = HANDLER,
        manifest: object = None,
        files: Mapping[str, str | bytes] | None = None,
    ) -> Path:
        workflow = {"workflowName": name, "specFile": "workflow.yaml"}
        if handler is not None:
            workflow["handler"] = "functions.py"
        about = {"workflow": workflow} if manifest is None else manifest
        path = store / f"{name}.war"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("WAR-INF/MANIFEST.json", json.dumps(about))
            if specification is not None:
                archive.writestr("workflow.yaml", specification)
            if handler is not None:
                archive.writestr("functions.py", handler)
            for file, content in (files or {}).items():
                archive.writestr(file, content)
        return path

    return make
