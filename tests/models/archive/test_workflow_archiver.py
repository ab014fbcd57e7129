"""Workflow archives as torch-workflow-archiver 0.2 writes them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.workflow_archiver import (
    WorkflowArchiverConfig,
    write_workflow_archive,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of a user's files, and work in it."""
    (tmp_path / "extra").mkdir()
    for name in ("spec.yaml", "h.py", "e1.txt", "extra/a.txt"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _archive(**options: object) -> Path:
    given = {"workflow_name": "w", "spec_file": "spec.yaml", "handler": "h.py", **options}
    return write_workflow_archive(WorkflowArchiverConfig(**given))  # type: ignore[arg-type]


def test_writes_the_files_and_a_manifest(folder: Path) -> None:
    """All files lie flat at the root of a zip file, with a manifest of their names."""
    file = _archive(extra_files="e1.txt")
    assert file == folder / "w.war"
    archive = zipfile.ZipFile(file)
    assert set(archive.namelist()) == {"spec.yaml", "h.py", "e1.txt", "WAR-INF/MANIFEST.json"}
    manifest = json.loads(archive.read("WAR-INF/MANIFEST.json"))
    assert list(manifest) == ["createdOn", "workflow", "archiverVersion"]
    assert manifest["workflow"] == {"workflowName": "w", "specFile": "spec.yaml", "handler": "h.py"}


def test_needs_no_handler(folder: Path) -> None:
    """A workflow of models alone has no functions."""
    assert folder
    archive = zipfile.ZipFile(_archive(handler=None))
    workflow = json.loads(archive.read("WAR-INF/MANIFEST.json"))["workflow"]
    assert workflow == {"workflowName": "w", "specFile": "spec.yaml"}


def test_takes_folders_and_patterns_too(folder: Path) -> None:
    """What `torchloom archive` takes as extra files is taken here: an addition."""
    assert folder
    assert {"a.txt", "e1.txt"} < set(
        zipfile.ZipFile(_archive(extra_files="extra,e*.txt")).namelist()
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workflow_name": "w/6"}, "filter for workflow name is"),
        ({"export_path": "h.py"}, "Given export-path h.py is not a directory"),
        ({"spec_file": "nope.yaml"}, "File does not exist: nope.yaml"),
        ({"handler": "nope.py"}, "File does not exist: nope.py"),
        ({"extra_files": "nope"}, "File does not exist: nope"),
    ],
)
def test_refuses_what_cannot_be_an_archive(
    folder: Path, options: dict[str, object], says: str
) -> None:
    """The message names what is wrong, and nothing is written."""
    with pytest.raises(ArchiverError, match=says):
        _archive(**options)
    assert not (folder / "w.war").exists()


def test_replaces_only_with_force(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An archive that is there stays, unless --force is given."""
    file = _archive()
    with pytest.raises(ArchiverError, match="overwrite the workflow archive output file"):
        _archive()
    _archive(force=True)
    assert caplog.messages == [f"Overwriting {file} ..."]
    assert folder
