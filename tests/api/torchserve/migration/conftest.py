"""A TorchServe installation: stores of archives, made with our own archiver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torchloom_models.archive.archiver import ModelArchiverConfig, write_model_archive
from torchloom_models.archive.workflow_archiver import (
    WorkflowArchiverConfig,
    write_workflow_archive,
)


#: Makes an archive in the store: name, version, text of model-config.yaml, more options.
MakeModel = Callable[..., Path]
MakeWorkflow = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a folder for archives, with sources beside it."""
    (tmp_path / "h.py").write_text("def handle(data, context):\n    return data\n")
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def make_model(store: Path) -> MakeModel:
    """Give what makes a model's archive in the store."""

    def make(name: str, version: str = "1.0", config: str | None = None, **options: object) -> Path:
        folder = store.parent
        if config is not None:
            (folder / "model-config.yaml").write_text(config)
            options["config_file"] = str(folder / "model-config.yaml")
        given = {"handler": str(folder / "h.py"), "export_path": str(store), **options}
        made = write_model_archive(
            ModelArchiverConfig(model_name=name, version=version, force=True, **given)  # type: ignore[arg-type]
        )
        suffix = made.name.removeprefix(name)
        return made.rename(made.with_name(f"{name}-{version}{suffix}"))

    return make


@pytest.fixture
def make_workflow(store: Path) -> MakeWorkflow:
    """Give what makes a workflow's archive in the store."""

    def make(name: str, specification: str, *, handler: bool = True) -> Path:
        folder = store.parent
        (folder / "spec.yaml").write_text(specification)
        return write_workflow_archive(
            WorkflowArchiverConfig(
                workflow_name=name,
                spec_file=str(folder / "spec.yaml"),
                handler=str(folder / "h.py") if handler else None,
                export_path=str(store),
            )
        )

    return make
