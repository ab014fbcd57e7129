"""Writes the archives that the benchmarks of TorchServe serve: `.mar` and `.war`, zipped by hand.

So neither server's own archiver is trusted. What the archives hold lies in `benchmarks/archives/`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path


SOURCES = Path(__file__).parent / "archives"


def write_mar(
    store: Path, handler: str, *, name: str = "", config: Mapping[str, object] | None = None
) -> Path:
    """Write NAME.mar of a handler's module into a store; the name is the handler's by default."""
    name = name or handler
    files = {"handler.py": (SOURCES / f"{handler}.py").read_text("utf-8")}
    return write_mar_of(store, name, files, config=config)


def write_mar_of(
    store: Path,
    name: str,
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    config: Mapping[str, object] | None = None,
    file: str = "",
) -> Path:
    """Write an archive of files given as text; `handler.py` is its handler."""
    model = {"modelName": name, "handler": "handler.py", "modelVersion": version}
    if config is not None:
        model["configFile"] = "model-config.yaml"
        files = {**files, "model-config.yaml": json.dumps(config)}  # JSON is YAML
    about = {
        "createdOn": "01/01/2026 00:00:00",
        "runtime": "python",
        "model": model,
        "archiverVersion": "0.12.0",
    }
    path = store / (file or f"{name}.mar")
    return _write(path, files, {"MAR-INF/MANIFEST.json": json.dumps(about)})


def write_war(store: Path, name: str) -> Path:
    """Write NAME.war of a workflow: its functions and its specification."""
    files = {
        "functions.py": (SOURCES / f"{name}.py").read_text("utf-8"),
        "workflow.yaml": (SOURCES / f"{name}.yaml").read_text("utf-8"),
    }
    workflow = {"workflowName": name, "specFile": "workflow.yaml", "handler": "functions.py"}
    about = {"createdOn": "01/01/2026 00:00:00", "workflow": workflow, "archiverVersion": "0.2.15"}
    return _write(store / f"{name}.war", files, {"WAR-INF/MANIFEST.json": json.dumps(about)})


def batching(size: int, wait_ms: int, *, workers: int = 1) -> dict[str, object]:
    """Give the `model-config.yaml` of an archive that is batched."""
    return {
        "minWorkers": workers,
        "maxWorkers": workers,
        "batchSize": size,
        "maxBatchDelay": wait_ms,
    }


def _write(path: Path, *groups: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for files in groups:
            for name, text in files.items():
                archive.writestr(name, text)
    return path
