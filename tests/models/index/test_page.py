"""Documents are found and read strictly; every fault has its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.errors import Fault, InvalidInput
from torchloom_models.index import page as page_module
from torchloom_models.index.page import Page, find_leaves, read_pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with documents of each form, in two levels, and other things."""
    (tmp_path / "deep").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b.md").write_text("# B\n")
    (tmp_path / "a.TXT").write_text("a")
    (tmp_path / "deep" / "c.markdown").write_text("c")
    (tmp_path / "deep" / "d.jsonl").write_text('{"text": "d"}\n')
    (tmp_path / ".git" / "hidden.md").write_text("x")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00")
    return tmp_path


def names(base: Path, *places: str) -> list[str]:
    """Give the names of what is found."""
    return [leaf.name for leaf in find_leaves(places, base)]


def test_finds_documents_below_a_folder(folder: Path) -> None:
    """All known forms, at any depth, sorted; hidden and other files are passed over."""
    assert names(folder, ".") == ["a.TXT", "b.md", "deep/c.markdown", "deep/d.jsonl"]
    assert names(folder.parent, folder.name) == names(folder, ".")
    assert names(Path("/"), str(folder)) == names(folder, ".")


def test_finds_files_and_patterns(folder: Path) -> None:
    """A file by its name, a pattern by its matches, and nothing twice."""
    assert names(folder, "b.md") == ["b.md"]
    assert names(folder, "*.md") == ["b.md"]
    assert names(folder, "**/*.m*") == ["b.md", "deep/c.markdown"]
    assert names(folder, "deep/*", "deep", "deep/c.markdown") == ["c.markdown", "d.jsonl"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "there is no such file or folder"),
        ("picture.png", "not one of .md, .markdown, .txt, .jsonl"),
        (".git", "No documents in .git"),
        ("*.pdf", "No documents in"),
    ],
)
def test_says_when_there_is_nothing_to_read(folder: Path, place: str, message: str) -> None:
    """Missing places, other files and empty folders are errors."""
    if place == ".git":
        (folder / ".git" / "hidden.md").unlink()
    with pytest.raises(InvalidInput, match=message):
        find_leaves([place], folder)


def test_says_when_no_place_is_named(tmp_path: Path) -> None:
    """Nothing at all is no documents either."""
    with pytest.raises(InvalidInput, match="No documents in nothing"):
        find_leaves([], tmp_path)


def read(folder: Path, name: str, data: bytes) -> tuple[list[Page], list[Fault]]:
    """Write one file, and give its pages and faults."""
    (folder / name).write_bytes(data)
    faults: list[Fault] = []
    return list(read_pages(find_leaves([name], folder), faults)), faults


def test_reads_markdown_with_front_matter(tmp_path: Path) -> None:
    """Front matter becomes metadata, with dates as text; a byte order mark is no text."""
    text = "\ufeff---\ntitle: T\nday: 2024-05-01\nlist: [1, {a: 2024-05-01}]\n---\nBody"
    (page,), faults = read(tmp_path, "a.md", text.encode())
    assert page.metadata == {"title": "T", "day": "2024-05-01", "list": [1, {"a": "2024-05-01"}]}
    assert (page.text.strip(), page.is_markdown, page.source) == ("Body", True, "a.md")
    assert not faults


def test_reads_records_line_by_line(tmp_path: Path) -> None:
    """Each line is a page; ids may be numbers; empty lines are passed over."""
    data = b'{"text": "one", "id": 7, "metadata": {"k": [1]}}\n\n  \n{"text": "\xc3\xa9"}'
    pages, faults = read(tmp_path, "a.jsonl", data)
    assert [(page.text, page.id, page.line, page.metadata) for page in pages] == [
        ("one", "7", 1, {"k": [1]}),
        ("é", None, 4, {}),
    ]
    assert not faults


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.md", b"# A\x00", "NUL bytes"),
        ("a.txt", b"\xff\xfea", "Not UTF-8: byte 0xff at 0"),
        ("a.txt", "text".encode("utf-16"), "NUL bytes"),
        ("a.jsonl", b"not json", "malformed"),
        ("a.jsonl", b"[1]", "Expected `object`"),
        ("a.jsonl", b'{"id": "a"}', "`text`"),
        ("a.jsonl", b'{"text": 5}', "Expected `str`"),
        ("a.jsonl", b'{"text": "", "metadata": []}', "Expected `object`"),
        ("a.jsonl", b'{"text": "", "url": "x"}', "unknown field `url`"),
        ("a.jsonl", b'{"text": "\x00"}', "NUL bytes"),
    ],
)
def test_names_file_and_reason_of_each_fault(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    """Binary files, other encodings and lines that are no records are faults."""
    pages, faults = read(tmp_path, name, data)
    assert not pages
    assert [fault.file for fault in faults] == [str(tmp_path / name)]
    assert message in faults[0].message
    assert (faults[0].line == 1) == name.endswith(".jsonl")


def test_goes_on_after_a_fault_and_stops_after_many(tmp_path: Path) -> None:
    """Good lines around a bad one are read; thousands of faults are cut short."""
    pages, faults = read(tmp_path, "a.jsonl", b'{"text": "a"}\nbad\n{"text": "b"}\n')
    assert [page.text for page in pages] == ["a", "b"]
    assert [fault.line for fault in faults] == [2]
    _, many = read(tmp_path, "b.jsonl", b"bad\n" * 5000)
    assert len(many) == 50


def test_refuses_files_and_lines_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits keep memory bounded; records have theirs by line."""
    monkeypatch.setattr(page_module, "MAX_FILE_BYTES", 2**20)
    monkeypatch.setattr(page_module, "MAX_LINE_BYTES", 2**20)
    _, faults = read(tmp_path, "a.md", b"a" * (2**20 + 1))
    assert "Larger than 1 MiB" in faults[0].message
    _, faults = read(tmp_path, "a.jsonl", b'{"text": "a"}\n' + b"a" * (2**20 + 1))
    assert "Line 2 is longer than 1 MiB" in faults[0].message
