"""A handler's files, laid out as its archive would be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from model_fakes.archives import manifest_of, write_folder

from torchloom.errors import InvalidModel
from torchloom_models.archive import workbench
from torchloom_models.archive.archiver_error import ArchiverError, MissingFile
from torchloom_models.archive.manifest import PLACE
from torchloom_models.archive.workbench import NamedFiles, Workbench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a handler, what it needs, and what others have left there."""
    return write_folder(
        tmp_path / "work",
        {
            "handler.py": "",
            "net/layers.py": "",
            "notes.log": "",
            "__pycache__/handler.pyc": "",
            ".git/config.py": "",
            "env/pyvenv.cfg": "",
            "env/lib/torch.py": "",
        },
    )


def _files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def _model(place: Path) -> dict[str, object]:
    model: dict[str, object] = json.loads((place / PLACE).read_text())["model"]
    return model


def test_lays_out_links_to_what_lies_beside_a_handler(folder: Path, tmp_path: Path) -> None:
    """But for the folders of tools; the manifest names the handler."""
    place = tmp_path / "place"
    Workbench(name="net", folder=folder, handler="handler.py").lay_out(place)

    own = {"handler.py", "net/layers.py", "notes.log"}
    assert _files(place) == {*own, "MAR-INF/MANIFEST.json"}
    assert (place / "net" / "layers.py").resolve() == folder / "net" / "layers.py"
    assert _model(place) == {"modelName": "net", "modelVersion": "1.0", "handler": "handler.py"}


def test_lays_out_named_files_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    """As the archiver would: by their last names, the contents of folders at the root."""
    write_folder(tmp_path, {"w/net.pt": "", "c/own.yaml": "", "extra/net/words.txt": ""})
    named = NamedFiles(
        serialized_file=str(tmp_path / "w/net.pt"),
        config_file=str(tmp_path / "c/own.yaml"),
        extra_files=str(tmp_path / "extra"),
    )
    place = tmp_path / "place"
    bench = Workbench(name="net", folder=folder, handler="handler.py", named=named)
    bench.lay_out(place)

    assert {"net.pt", "own.yaml", "net/words.txt", "net/layers.py"} <= _files(place)
    assert _model(place)["serializedFile"] == "net.pt"
    assert _model(place)["configFile"] == "own.yaml"
    assert bench.authored() == [folder, *(tmp_path / each for each in ("w", "c", "extra/net"))]


def test_keeps_what_a_manifest_says_besides(folder: Path, tmp_path: Path) -> None:
    """Its own file is left as it is."""
    text = manifest_of("shop", "old.py", modelFile="net.py", modelVersion="2.5")
    write_folder(folder, {str(PLACE): text})
    place = tmp_path / "place"
    Workbench(name="till", folder=folder, handler="handler.py", envelope="json").lay_out(place)

    assert _model(place) == {
        "modelName": "till",
        "modelVersion": "2.5",
        "handler": "handler.py",
        "modelFile": "net.py",
        "envelope": "json",
    }
    assert (folder / PLACE).read_text() == text


@pytest.mark.parametrize("change", ["edit", "same size", "add", "remove", "replace"])
def test_sees_what_changes(folder: Path, change: str) -> None:
    """Whatever is done to a file that may change what the handler does."""
    bench = Workbench(name="net", folder=folder, handler="handler.py")
    file = folder / "net" / "layers.py"
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    before = bench.look()
    if change == "edit":
        file.write_text("two, and more")
    elif change == "same size":
        file.write_text("two")
    elif change == "add":
        (folder / "names.json").touch()
    elif change == "remove":
        file.unlink()
    else:
        (folder / "new").write_text("two")
        (folder / "new").rename(file)

    assert bench.look() != before


def test_looks_away_from_what_changes_nothing(folder: Path) -> None:
    """Logs, caches, environments, and links to nothing, such as editors make."""
    bench = Workbench(name="net", folder=folder, handler="handler.py")
    before = bench.look()
    write_folder(folder, {"notes.log": "more", "env/lib/more.py": "", ".git/more.py": ""})
    (folder / ".#handler.py").symlink_to("nobody@nowhere")

    assert bench.look() == before


def test_sees_a_named_file_whatever_its_ending(folder: Path, tmp_path: Path) -> None:
    """What somebody names matters."""
    weights = tmp_path / "net.weights"
    weights.write_text("one")
    named = NamedFiles(serialized_file=str(weights))
    bench = Workbench(name="net", folder=folder, handler="handler.py", named=named)
    before = bench.look()
    weights.write_text("more")

    assert bench.look() != before


def test_walks_through_a_folder_once(folder: Path) -> None:
    """Links that lead back have no end."""
    (folder / "net" / "back").symlink_to(folder)

    assert len(Workbench(name="net", folder=folder).look()) == 2


def test_refuses_a_folder_with_too_many_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's home is not for it to watch."""
    monkeypatch.setattr(workbench, "MAX_FILES", 2)

    with pytest.raises(ArchiverError, match="a folder of their own"):
        Workbench(name="net", folder=folder).look()


def test_says_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    """A file that is named, or a manifest that is one."""
    named = NamedFiles(serialized_file=str(tmp_path / "gone.pt"))
    with pytest.raises(MissingFile, match=r"gone\.pt"):
        Workbench(name="net", folder=folder, named=named).lay_out(tmp_path / "one")
    write_folder(folder, {str(PLACE): "{"})
    with pytest.raises(InvalidModel, match=r"MANIFEST\.json"):
        Workbench(name="net", folder=folder).lay_out(tmp_path / "two")
