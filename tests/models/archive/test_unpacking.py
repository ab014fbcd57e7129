"""Archives become files of a folder, or are refused whole."""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes.archives import write_mar, write_tar

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive import unpacking
from torchloom_models.archive.unpacking import is_archive, outline, unpack


FILES = {"MAR-INF/MANIFEST.json": "{}", "model.py": "x = 1\n", "weights.bin": bytes(100_000)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder."""
    folder = tmp_path / "to"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Give all files below a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_mar(path, FILES),
        lambda path: write_mar(path, FILES, zipfile.ZIP_STORED),
        lambda path: write_tar(path, FILES),
    ],
    ids=["deflated", "stored", "tar"],
)
def test_unpacks_what_archivers_make(
    write: Callable[[Path], Path], tmp_path: Path, folder: Path
) -> None:
    """Every form gives the same files; the top folder of a tar is left out."""
    source = write(tmp_path / "model")
    unpack(source, folder)

    assert is_archive(source)
    assert set(contents(folder)) == set(FILES)
    assert contents(folder)["weights.bin"] == FILES["weights.bin"]


def test_leaves_out_what_systems_add(tmp_path: Path, folder: Path) -> None:
    """What lies in an archive by the way is not unpacked."""
    unpack(write_mar(tmp_path / "a", {"a.py": "", "__MACOSX/a.py": "", "sub/": ""}), folder)

    assert set(contents(folder)) == {"a.py"}
    assert (folder / "sub").is_dir()


@pytest.mark.parametrize("name", ["../out.py", "a/../../out.py", "a\\b", "a\nb"])
@pytest.mark.parametrize("write", [write_mar, write_tar])
def test_writes_nothing_outside(
    write: Callable[[Path, dict[str, str]], Path], name: str, tmp_path: Path, folder: Path
) -> None:
    """A name that leads elsewhere refuses the archive before a file is written."""
    source = write(tmp_path / "a", {"good.py": "", name: "evil"})
    before = set(tmp_path.rglob("*"))

    with pytest.raises(InvalidModel, match="is refused: entry"):
        unpack(source, folder)
    assert set(tmp_path.rglob("*")) == before


def test_refuses_absolute_names(tmp_path: Path, folder: Path) -> None:
    """The folder that is left out of a tar does not make one good."""
    sources = (
        write_tar(tmp_path / "tar", {"etc/passwd": "x"}, top=""),
        write_mar(tmp_path / "mar", {"/etc/passwd": "x"}),
    )

    for source in sources:
        with pytest.raises(InvalidModel, match="its name is absolute"):
            unpack(source, folder)


def test_refuses_links_of_a_zip(tmp_path: Path, folder: Path) -> None:
    """A link may point anywhere."""
    source = tmp_path / "a"
    with zipfile.ZipFile(source, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")

    with pytest.raises(InvalidModel, match=r"entry 'link': it is a link or a device"):
        unpack(source, folder)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_refuses_links_and_devices_of_a_tar(kind: bytes, tmp_path: Path, folder: Path) -> None:
    """Files and folders are all that an archiver writes."""
    source = tmp_path / "a"
    with tarfile.open(source, "w:gz") as archive:
        info = tarfile.TarInfo("top/link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)

    with pytest.raises(InvalidModel, match="it is a link or a device"):
        unpack(source, folder)


def test_refuses_files_beside_the_folder_of_a_tar(tmp_path: Path, folder: Path) -> None:
    """Leaving the top folder out must not lose anything."""
    with pytest.raises(InvalidModel, match="beside the one folder"):
        unpack(write_tar(tmp_path / "a", {"a.py": ""}, top="."), folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_two_entries_of_one_name(tmp_path: Path, folder: Path) -> None:
    """Readers would not agree on which one counts."""
    source = tmp_path / "a"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("a.py", "1")
        archive.writestr("a.py", "2")

    with pytest.raises(InvalidModel, match="two of that name"):
        unpack(source, folder)


def test_refuses_a_file_where_a_folder_is(tmp_path: Path, folder: Path) -> None:
    """What cannot be is said, with the archive's name."""
    with pytest.raises(ModelLoadError, match=r"cannot be unpacked"):
        unpack(write_mar(tmp_path / "a", {"a": "", "a/b": ""}), folder)


def test_refuses_an_encrypted_entry(tmp_path: Path, folder: Path) -> None:
    """Nobody is there who could type a password."""
    source = write_mar(tmp_path / "a", {"a.py": "x"})
    data = bytearray(source.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    source.write_bytes(data)

    with pytest.raises(InvalidModel, match="it is encrypted"):
        unpack(source, folder)


@pytest.mark.parametrize("write", [write_mar, write_tar])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_refuses_what_was_cut_short(
    write: Callable[[Path, dict[str, bytes]], Path], share: float, tmp_path: Path, folder: Path
) -> None:
    """Half an archive is told as such, and how to mend it."""
    source = write(tmp_path / "a", {"a.bin": bytes(range(256)) * 400, "b.bin": bytes(9000)})
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(ModelLoadError, match="cut short"):
        unpack(source, folder)


def test_tells_a_file_that_is_no_archive(tmp_path: Path) -> None:
    """Its first bytes tell."""
    (tmp_path / "a.mar").write_text("hello")

    assert not is_archive(tmp_path / "a.mar")


@pytest.mark.parametrize("write", [write_mar, write_tar])
def test_refuses_a_bomb(
    write: Callable[[Path, dict[str, bytes]], Path],
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Much more than its size is refused before it is written; a little of it is no bomb."""
    source = write(tmp_path / "a", {"zeros": bytes(3 << 20)})
    unpack(source, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    monkeypatch.setattr(unpacking, "BOMB_BYTES", 1 << 20)

    with pytest.raises(InvalidModel, match="looks like a bomb"):
        unpack(source, folder)
    assert not contents(folder)


def test_refuses_an_entry_that_is_longer_than_it_says(tmp_path: Path, folder: Path) -> None:
    """What an archive says of its sizes is held against what comes."""
    source = write_mar(tmp_path / "a", {"zeros": bytes(3 << 20)})
    data = bytearray(source.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature) + place
        data[start : start + 4] = (10).to_bytes(4, "little")
    source.write_bytes(data)

    with pytest.raises(ModelLoadError, match="no archive, or it was cut short"):
        unpack(source, folder)


def test_refuses_a_header_of_any_length(tmp_path: Path, folder: Path) -> None:
    """A tar's header is read whole, so it must not say that it has gigabytes."""
    info = tarfile.TarInfo("top/PaxHeaders/a")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    source = tmp_path / "a"
    source.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096)))

    with pytest.raises(ModelLoadError, match="cut short"):
        unpack(source, folder)


def test_refuses_too_many_entries(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file takes a place on the disk, however small it is."""
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 3)

    with pytest.raises(InvalidModel, match="more than 3 entries"):
        unpack(write_mar(tmp_path / "a", dict.fromkeys("abcd", "")), folder)


def test_says_where_there_is_no_room(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told before anything is written."""
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(ModelLoadError, match=r"no room to unpack .* 1000 are free"):
        unpack(write_mar(tmp_path / "a", {"a.py": "x"}), folder)


def test_reads_nothing_as_no_archive(tmp_path: Path, folder: Path) -> None:
    """An empty file is no archive either."""
    (tmp_path / "a").write_bytes(io.BytesIO().getvalue())

    with pytest.raises(ModelLoadError, match="no archive"):
        unpack(tmp_path / "a", folder)


@pytest.mark.parametrize("write", [write_mar, write_tar])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_survives_any_bytes(
    write: Callable[[Path, dict[str, bytes]], Path], changes: list[tuple[float, int]]
) -> None:
    """An archive with bytes changed anywhere is unpacked or refused, and writes nothing beside."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "to"
        folder.mkdir()
        source = write(Path(top) / "a", {"a.py": b"x" * 50, "sub/b.bin": bytes(range(256))})
        data = bytearray(source.read_bytes())
        # Tars are changed below their compression, whose checksum would tell at once.
        data = bytearray(gzip.decompress(data)) if write is write_tar else data
        for place, value in changes:
            data[int(place * (len(data) - 1))] = value
        source.write_bytes(gzip.compress(data) if write is write_tar else data)
        with contextlib.suppress(InvalidModel, ModelLoadError):
            unpack(source, folder)
        assert {each.name for each in Path(top).iterdir()} == {"a", "to"}


@pytest.mark.parametrize("write", [write_mar, write_tar])
def test_lays_out_names_without_contents(
    tmp_path: Path, folder: Path, write: Callable[..., Path]
) -> None:
    """All files are there, and empty: the top folder of a tar is left out here, too."""
    outline(write(tmp_path / "a", FILES), folder)

    assert contents(folder) == dict.fromkeys(FILES, b"")


def test_lays_out_nothing_of_an_archive_that_is_refused(tmp_path: Path, folder: Path) -> None:
    """Its names lead elsewhere."""
    with pytest.raises(InvalidModel, match="leads out of the archive"):
        outline(write_mar(tmp_path / "a", {"x": "", "../y": ""}), folder)

    assert contents(folder) == {}
