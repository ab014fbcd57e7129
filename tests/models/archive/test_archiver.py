"""Archives as torch-model-archiver 0.12 writes them: names, contents, manifests and refusals.

The expected lists were taken from what torch-model-archiver 0.12.0 wrote for the same files.
"""

from __future__ import annotations

import json
import logging
import tarfile
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from torchloom_models.archive.archiver import (
    BUILT_IN_HANDLERS,
    ModelArchiver,
    ModelArchiverConfig,
    ModelArchiverError,
    write_model_archive,
)


MANIFEST = "MAR-INF/MANIFEST.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of a user's files, and work in it."""
    files = {
        "h.py": "def handle(data, context): ...\n",
        "m.py": "class M: ...\n",
        "w.pt": "weights",
        "req.txt": "pillow\n",
        "cfg.yaml": "minWorkers: 1\n",
        "e1.txt": "one",
        "e2.txt": "two",
        "nest/e1.txt": "nested",
        "nest/k.py": "",
        "libx.so": "",
        "x/a.pyc": "",
        "x/.top": "",
        "x/.git/c": "",
        "x/__MACOSX/q": "",
        "x/_u/k": "",
        "x/__init__.py": "",
        "x/s/ok": "",
        "x/s/.h": "",
        "x/s/.hd/a": "",
        "x/s/__pycache__/a.pyc": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "x" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _archive(**options: object) -> Path:
    given = {"model_name": "m", "handler": "h.py", "version": "1.0", **options}
    return write_model_archive(ModelArchiverConfig(**given))  # type: ignore[arg-type]


def _names(file: Path) -> set[str]:
    return set(zipfile.ZipFile(file).namelist()) - {MANIFEST}


def _manifest(file: Path) -> dict[str, object]:
    manifest = json.loads(zipfile.ZipFile(file).read(MANIFEST))
    assert isinstance(manifest, dict)
    return manifest


def test_writes_every_key_of_the_manifest(folder: Path) -> None:
    """Files lie flat at the root; the manifest holds their last names."""
    file = _archive(
        serialized_file="w.pt",
        model_file="m.py",
        extra_files="e*.txt,x",
        requirements_file="req.txt",
        config_file="cfg.yaml",
        runtime="python3",
    )
    assert file == folder / "m.mar"
    manifest = _manifest(file)
    assert manifest["model"] == {
        "modelName": "m",
        "serializedFile": "w.pt",
        "handler": "h.py",
        "modelFile": "m.py",
        "modelVersion": "1.0",
        "requirementsFile": "req.txt",
        "configFile": "cfg.yaml",
    }
    assert manifest["runtime"] == "python3"
    assert datetime.strptime(str(manifest["createdOn"]), "%d/%m/%Y %H:%M:%S").year > 2000  # noqa: DTZ007
    assert str(manifest["archiverVersion"]).startswith("torchloom")


def test_leaves_unsaid_keys_out(folder: Path) -> None:
    """A manifest has no empty keys, and an empty version is none."""
    assert folder
    model = _manifest(_archive(version=""))["model"]
    assert model == {"modelName": "m", "handler": "h.py"}


def test_takes_folders_with_their_contents(folder: Path) -> None:
    """A folder's contents lie at the root, less hidden folders, caches and those of macOS.

    A quirk: hidden files are kept, and empty folders are not.
    """
    assert folder
    expected = {"h.py", "a.pyc", ".top", "_u/k", "__init__.py", "s/ok", "s/.h"}
    assert _names(_archive(extra_files="x")) == expected


def test_takes_what_a_pattern_finds(folder: Path) -> None:
    """A pattern is a shell's; a folder that it finds counts as one that was named."""
    assert folder
    assert _names(_archive(extra_files="x/*")) == {
        *("h.py", "a.pyc", "__init__.py", "q", "k", "ok", ".h")
    }
    assert _names(_archive(extra_files="[d-f]?.txt", force=True)) == {"h.py", "e1.txt", "e2.txt"}


def test_warns_of_a_pattern_that_finds_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The archive is written without it."""
    assert folder
    assert _names(_archive(extra_files="nope*")) == {"h.py"}
    assert "Given wildcard pattern did not match any file: nope*" in caplog.messages


def test_lets_the_later_of_two_files_win(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two files of one name cannot both lie at the root; the log names both."""
    assert folder
    file = _archive(extra_files="e1.txt,nest/e1.txt")
    assert zipfile.ZipFile(file).read("e1.txt") == b"nested"
    assert "nest/e1.txt takes the place of e1.txt" in caplog.messages


def test_ends_where_a_link_leads_back(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A link to a folder above it would go on for ever; a link to nothing is left out."""
    (folder / "nest" / "again").symlink_to(folder / "nest")
    (folder / "nest" / "dead").symlink_to("nowhere")
    (folder / "nest" / "x").symlink_to(folder / "x" / "s")
    assert _names(_archive(extra_files="nest")) == {"h.py", "e1.txt", "k.py", "x/ok", "x/.h"}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("handler", "runtime", "named", "holds"),
    [
        ("h.py", "python", "h.py", {"h.py"}),
        ("h", "python", "h", {"h.py"}),
        ("h:entry", "python", "h:entry", {"h.py"}),
        ("h.py:entry", "python", "h:entry", {"h.py"}),
        ("nest/k.py", "python", "k.py", {"k.py"}),
        ("nest/k:entry", "python", "k:entry", {"k.py"}),
        ("libx:Handler", "LSP", "libx:Handler", {"libx.so"}),
        ("TorchScriptHandler", "LSP", "TorchScriptHandler", set()),
        *((name, "python", name, set()) for name in sorted(BUILT_IN_HANDLERS)),
    ],
)
def test_finds_the_handler(
    folder: Path, handler: str, runtime: str, named: str, holds: set[str]
) -> None:
    """A handler is a file, with or without its suffix and a function, or a built-in one."""
    assert folder
    file = _archive(handler=handler, runtime=runtime)
    assert _manifest(file)["model"] == {
        "modelName": "m",
        "handler": named,
        "modelVersion": "1.0",
    }
    assert _names(file) == holds


def test_stores_without_deflating(folder: Path) -> None:
    """zip-store is a zip file whose members lie in it as they are."""
    assert folder
    (stored,) = {
        i.compress_type for i in zipfile.ZipFile(_archive(archive_format="zip-store")).filelist
    }
    (deflated,) = {i.compress_type for i in zipfile.ZipFile(_archive(force=True)).filelist}
    assert (stored, deflated) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def test_writes_a_tar_file_below_the_models_name(folder: Path) -> None:
    """In tgz all lies below a folder of the model's name; links become files."""
    (folder / "nest" / "link").symlink_to("../w.pt")
    file = _archive(archive_format="tgz", extra_files="nest")
    assert file.name == "m.tar.gz"
    with tarfile.open(file) as archive:
        assert set(archive.getnames()) == {
            *("m/h.py", "m/e1.txt", "m/k.py", "m/link", f"m/{MANIFEST}")
        }
        assert all(member.isreg() for member in archive)


def test_writes_a_folder(folder: Path) -> None:
    """no-archive is a folder of the model's name; --force leaves nothing old in it."""
    file = _archive(archive_format="no-archive", extra_files="e1.txt,x/_u")
    found = {str(each.relative_to(file)) for each in file.rglob("*") if each.is_file()}
    assert found == {"h.py", "e1.txt", "k", MANIFEST}
    _archive(archive_format="no-archive", force=True)
    assert not (file / "e1.txt").exists()
    assert {each.name for each in folder.iterdir() if each.name.startswith(".")} == set()


def test_writes_a_new_manifest_for_an_unpacked_archive(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old manifest of a folder that was an archive does not come along."""
    old = _archive(archive_format="no-archive", model_name="old")
    file = _archive(extra_files=str(old))
    assert zipfile.ZipFile(file).namelist().count(MANIFEST) == 1
    assert "is left out: a new one is written" in caplog.text
    assert folder


@pytest.mark.parametrize("archive_format", ["default", "zip-store", "tgz", "no-archive"])
def test_replaces_only_with_force(
    folder: Path, archive_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An archive that is there stays, unless --force is given; then the log says so."""
    file = _archive(archive_format=archive_format)
    with pytest.raises(ModelArchiverError, match="already exists") as caught:
        _archive(archive_format=archive_format)
    assert caught.value.message == (
        f"{file} already exists.\n"
        "Please specify --force/-f option to overwrite the model archive output file.\n"
        "See -h/--help for more details."
    )
    _archive(archive_format=archive_format, force=True)
    assert caplog.messages == [f"Overwriting {file} ..."]
    assert folder


def test_does_not_replace_a_folder_by_a_file(folder: Path) -> None:
    """--force is for archives: a folder that has the file's name is another's."""
    (folder / "m.mar").mkdir()
    with pytest.raises(ModelArchiverError, match="is a folder"):
        _archive(force=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model_name": "m/x"}, r"The allowed regular expression filter for model name is"),
        ({"model_name": ""}, "Model name contains special characters"),
        ({"model_name": "a\n"}, "Model name contains special characters"),
        ({"export_path": "h.py"}, "Given export-path h.py is not a directory"),
        ({"export_path": "h.py/sub"}, "Cannot make the folder h.py/sub"),
        ({"archive_format": "rar"}, "archive-format cannot be 'rar'"),
        ({"runtime": "java"}, "runtime cannot be 'java'"),
        ({"handler": ""}, "The handler is empty"),
    ],
)
def test_refuses_what_cannot_be_an_archive(
    folder: Path, options: dict[str, object], says: str
) -> None:
    """The message names what is wrong, and nothing is written."""
    before = set(folder.iterdir())
    with pytest.raises(ModelArchiverError, match=says):
        _archive(**options)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"handler": "nope.py"}, "File does not exist: nope.py"),
        ({"handler": "nope"}, "File does not exist: nope.py"),
        ({"serialized_file": "nope.pt"}, "File does not exist: nope.pt"),
        ({"config_file": "nope.yaml"}, "File does not exist: nope.yaml"),
        ({"extra_files": "e1.txt,nope"}, "File does not exist: nope"),
        ({"model_file": "x"}, "This is a folder, not a file: x"),
    ],
)
def test_misses_a_file(folder: Path, options: dict[str, object], says: str) -> None:
    """A missing file is a FileNotFoundError too, as it is for callers of torch-model-archiver."""
    with pytest.raises(FileNotFoundError) as caught:
        _archive(**options)
    assert str(caught.value) == says
    assert not (folder / "m.mar").exists()


def test_makes_the_export_path(folder: Path) -> None:
    """A folder that is not there yet is made."""
    assert _archive(export_path="new/deep") == folder / "new" / "deep" / "m.mar"


def test_is_called_as_torch_model_archiver_is(folder: Path) -> None:
    """The Python call and its configuration have the old names, order and defaults."""
    config = ModelArchiverConfig("m", "h.py", "1.0", "w.pt", "m.py", "e1.txt")
    assert (config.runtime, config.archive_format, config.force) == ("python", "default", False)
    assert config.export_path == str(folder)
    ModelArchiver.generate_model_archive(config)
    assert _names(folder / "m.mar") == {"h.py", "w.pt", "m.py", "e1.txt"}


def test_leaves_no_half_of_an_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in the middle leaves the archive that was there, and nothing beside it."""
    file = _archive()
    before = file.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="No space left"):
        _archive(force=True)
    assert file.read_bytes() == before
    assert not [each for each in folder.iterdir() if each.name.startswith(".")]
