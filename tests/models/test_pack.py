"""Packs: artefacts in one file, and all the ways in which such a file can be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from torchloom_models import pack
from torchloom_models.artefact import ABOUT, ArtefactKey, ArtefactStore
from torchloom_models.machine import COMMON, facts_of
from torchloom_models.pack import InvalidPack, unpack, write_pack


KEY = ArtefactKey(model="m", dtype="float32", device="cpu", part="encode", name="minilm")

NAME = f"encode-{'1' * 32}"

CODE = b"code" * 1000

Entry = tuple[str | zipfile.ZipInfo, bytes]


@pytest.fixture
def source(tmp_path: Path) -> ArtefactStore:
    """Give a store with two artefacts."""
    store = ArtefactStore(tmp_path / "source")
    for name in (NAME, f"decode-{'2' * 32}"):
        with store.making(name, KEY, threads=2) as folder:
            (folder / "code.pt2").write_bytes(CODE)
            (folder / "constants.safetensors").write_bytes(b"")
    return store


@pytest.fixture
def target(tmp_path: Path) -> ArtefactStore:
    """Give an empty store."""
    return ArtefactStore(tmp_path / "target")


@pytest.fixture
def packed(source: ArtefactStore, tmp_path: Path) -> Path:
    """Give a pack of both."""
    path = tmp_path / "all.tlpack"
    write_pack(path, source.artefacts())
    return path


def manifest_of(
    files: Mapping[str, bytes] | None = None,
    *,
    name: str = NAME,
    facts: Mapping[str, str] | None = None,
    version: int = 1,
) -> dict[str, object]:
    """Make the manifest of one artefact."""
    files = {"code.pt2": CODE} if files is None else files
    facts = facts_of(COMMON) if facts is None else facts
    about = {"model": "m", "dtype": "f", "device": "cpu", "part": "encode", "name": ""}
    listed = [
        {"name": file, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for file, data in files.items()
    ]
    artefact = {"name": name, "about": {**about, "facts": facts}, "files": listed}
    return {"format": version, "artefacts": [artefact]}


def forge(path: Path, manifest: object, *entries: Entry, compression: int = 0) -> Path:
    """Write a zip by hand: the manifest, then entries as they are given."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("manifest.json", json.dumps(manifest), zipfile.ZIP_STORED)
        for name, data in entries:
            archive.writestr(name, data)
    return path


def refused(path: Path, store: ArtefactStore) -> str:
    """Unpack, which must be refused and leave nothing; give what was said."""
    with pytest.raises(InvalidPack) as caught:
        unpack(path, store)
    assert str(path) in str(caught.value)
    assert not store.root.exists() or list(store.root.iterdir()) == []
    return str(caught.value)


def test_carries_artefacts_to_another_store(
    packed: Path, source: ArtefactStore, target: ArtefactStore
) -> None:
    """What is unpacked is what was packed, byte for byte; what is there already stays."""
    assert set(unpack(packed, target).values()) == {True}

    assert {each.name for each in target.artefacts()} == {each.name for each in source.artefacts()}
    for artefact in target.artefacts():
        assert (artefact.folder / "code.pt2").read_bytes() == CODE
        assert (artefact.folder / "constants.safetensors").read_bytes() == b""
        assert artefact.about.threads == 2
        assert (artefact.folder / ABOUT).read_bytes() == (
            source.root / artefact.name / ABOUT
        ).read_bytes()
    assert unpack(packed, target) == dict.fromkeys((a.name for a in target.artefacts()), False)
    assert not list(target.root.glob(".unpack*"))


def test_replaces_a_pack_whole_or_not_at_all(packed: Path, source: ArtefactStore) -> None:
    """A pack that cannot be written leaves the old one, and nothing else."""
    before = packed.read_bytes()
    (gone, *_) = artefacts = source.artefacts()
    for file in gone.folder.iterdir():
        file.unlink()
    gone.folder.rmdir()

    with pytest.raises(FileNotFoundError):
        write_pack(packed, artefacts)

    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.glob("*.tlpack*")] == [packed.name]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"torch": "1.0"}, "another kind of machine: torch 1.0 (here "),
        ({"processor": "vax"}, "the processor here lacks vax"),
        ({"openvino:NPU": "Some NPU"}, "openvino:NPU Some NPU (here none)"),
        ({"nncf-of-old": "2.0"}, "nncf-of-old 2.0 (here none)"),
    ],
)
def test_refuses_what_was_made_elsewhere(
    tmp_path: Path, target: ArtefactStore, facts: Mapping[str, str], words: str
) -> None:
    """Another processor, device or version is refused by name, before anything is written."""
    manifest = manifest_of(facts={**facts_of(COMMON), **facts})
    path = forge(tmp_path / "p.tlpack", manifest, (f"{NAME}/code.pt2", CODE))

    assert words in refused(path, target)


def test_refuses_what_does_not_say_where_it_was_made(tmp_path: Path, target: ArtefactStore) -> None:
    """No facts are not the right facts."""
    path = forge(tmp_path / "p.tlpack", manifest_of(facts={}), (f"{NAME}/code.pt2", CODE))

    assert "does not say what it was made for" in refused(path, target)


def test_refuses_what_is_cut_short(packed: Path, tmp_path: Path, target: ArtefactStore) -> None:
    """Wherever the file ends early, it is refused."""
    whole = packed.read_bytes()
    path = tmp_path / "cut.tlpack"
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "cut short or damaged" in refused(path, target)


def test_refuses_damage_anywhere(packed: Path, tmp_path: Path) -> None:
    """No byte of a pack can be another one and be taken for good, but for what no reader looks at.

    A pack that is taken all the same must hold the very same files.
    """
    whole = packed.read_bytes()
    path = tmp_path / "damaged.tlpack"
    num_refused = 0
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        store = ArtefactStore(tmp_path / "stores" / str(place))
        try:
            unpack(path, store)
        except InvalidPack:
            num_refused += 1
            assert store.artefacts() == []
        else:
            codes = [(each.folder / "code.pt2").read_bytes() for each in store.artefacts()]
            assert codes == [CODE, CODE]
    assert num_refused > 200


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/cron.d/evil", "a/b", "", ".hidden", "about.json", "C:\\x", "é"]
)
def test_refuses_names_that_lead_elsewhere(
    tmp_path: Path, target: ArtefactStore, name: str
) -> None:
    """A file's name is a plain name; so nothing is ever written beside the artefact."""
    path = forge(tmp_path / "p.tlpack", manifest_of({name: b"x"}), (f"{NAME}/{name}", b"x"))

    assert "no name for a file" in refused(path, target)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "inductor", "findings", "..", f"{NAME}/"])
def test_refuses_artefacts_of_odd_names(tmp_path: Path, target: ArtefactStore, name: str) -> None:
    """Part and digest, and nothing else: torch's own caches cannot be overwritten."""
    path = forge(tmp_path / "p.tlpack", manifest_of(name=name), (f"{name}/code.pt2", CODE))

    assert "no name of an artefact" in refused(path, target)


def test_refuses_what_the_manifest_does_not_tell_of(tmp_path: Path, target: ArtefactStore) -> None:
    """Archive and manifest agree file by file, in both directions."""
    code: Entry = (f"{NAME}/code.pt2", CODE)
    more = forge(tmp_path / "more.tlpack", manifest_of(), code, ("../evil", b"x"))
    less = forge(tmp_path / "less.tlpack", manifest_of())

    assert "do not agree on '../evil'" in refused(more, target)
    assert "do not agree on" in refused(less, target)


def test_refuses_links(tmp_path: Path, target: ArtefactStore) -> None:
    """A symbolic link could lead what is written next anywhere."""
    link = zipfile.ZipInfo(f"{NAME}/code.pt2")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = forge(tmp_path / "p.tlpack", manifest_of({"code.pt2": b"/etc"}), (link, b"/etc"))

    assert "no plain file" in refused(path, target)


def test_refuses_bombs(tmp_path: Path, target: ArtefactStore) -> None:
    """Nothing is compressed, so nothing is larger than the file that it came in."""
    bomb = bytes(10_000_000)
    path = forge(
        tmp_path / "p.tlpack",
        manifest_of({"code.pt2": bomb}),
        (f"{NAME}/code.pt2", bomb),
        compression=zipfile.ZIP_DEFLATED,
    )

    assert path.stat().st_size < 100_000
    assert "is compressed" in refused(path, target)


def test_refuses_sizes_that_are_not_so(tmp_path: Path, target: ArtefactStore) -> None:
    """What a manifest says of sizes and hashes is checked against what is there."""
    code: Entry = (f"{NAME}/code.pt2", CODE)
    long = forge(tmp_path / "long.tlpack", manifest_of({"code.pt2": CODE + b"x"}), code)
    other = forge(tmp_path / "other.tlpack", manifest_of({"code.pt2": b"c0de" * 1000}), code)

    assert "not as long as its manifest says" in refused(long, target)
    assert "damaged: its hash differs" in refused(other, target)


def test_refuses_two_files_of_one_name(tmp_path: Path, target: ArtefactStore) -> None:
    """Two readers might take different ones."""
    code: Entry = (f"{NAME}/code.pt2", CODE)
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = forge(tmp_path / "p.tlpack", manifest_of(), code, code)
    twice = manifest_of()
    twice["artefacts"] = [*twice["artefacts"], *twice["artefacts"]]  # type: ignore[misc]

    assert "two files of one name" in refused(path, target)
    assert "two files of one name" in refused(forge(tmp_path / "q.tlpack", twice, code), target)


def test_refuses_too_many_files(
    packed: Path, target: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of files, and the length of the manifest, are bounded."""
    monkeypatch.setattr(pack, "_MAX_FILES", 3)
    assert "holds 5 files, more than 3" in refused(packed, target)
    monkeypatch.setattr(pack, "_MAX_FILES", 100)
    monkeypatch.setattr(pack, "_MAX_MANIFEST", 10)
    assert "manifest is longer than 10 bytes" in refused(packed, target)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (manifest_of(version=2), "its format is '2'"),
        ({"artefacts": []}, "its format is ''"),
        ({"format": 1}, "manifest does not read"),
        ({"format": 1, "artefacts": [], "extra": 1}, "manifest does not read"),
        ([1, 2], "manifest does not read"),
        ("\ud800", "manifest does not read"),
    ],
)
def test_refuses_manifests_of_another_form(
    tmp_path: Path, target: ArtefactStore, manifest: object, words: str
) -> None:
    """Another format is told from a broken manifest."""
    assert words in refused(forge(tmp_path / "p.tlpack", manifest), target)


def test_refuses_what_is_no_pack(tmp_path: Path, target: ArtefactStore) -> None:
    """Any other zip, and any other file, is told what it is not."""
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    text = tmp_path / "notes.txt"
    text.write_text("not a zip")

    assert "does not begin with manifest.json" in refused(other, target)
    assert "cut short or damaged" in refused(text, target)


def test_leaves_the_store_as_it_was_where_it_cannot_be_written(
    packed: Path, target: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle leaves no half of a pack."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack, "write_about", full)

    with pytest.raises(OSError, match="No space left"):
        unpack(packed, target)
    assert list(target.root.iterdir()) == []


def test_writes_a_pack_that_others_may_read(packed: Path) -> None:
    """It has the permissions that any file has which is made here."""
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(packed.stat().st_mode) == 0o666 & ~mask
