"""Pages: what is read from files of documents, before it is cut. Knows no index and no model.

Markdown (.md, .markdown), plain text (.txt) and JSON Lines (.jsonl), all in UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from torchloom.errors import Fault, InvalidInput
from torchloom_models.index.chunker import split_front_matter


MAX_FILE_BYTES = 64 * 2**20
MAX_LINE_BYTES = 16 * 2**20
_MAX_FAULTS = 50

_FORMS: Mapping[str, Literal["markdown", "plain", "records"]] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "plain",
    ".jsonl": "records",
}
_SUFFIXES = ", ".join(_FORMS)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A file of documents; `name` is its path below the folder or pattern that it was found by."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One text to be cut: a file, or a record, perhaps with its own `id`, that starts at `line`."""

    source: str
    text: str
    is_markdown: bool = False
    id: str | None = None
    line: int = 1
    is_record: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a .jsonl file."""

    text: str
    id: str | int | None = None
    metadata: dict[str, object] = {}


def find_leaves(documents: Iterable[str | Path], base: Path) -> list[Leaf]:
    """Find the files that `documents` names: folders (all below), files, and glob patterns.

    Paths are relative to `base`; hidden files and folders are passed over. Sorted, each file once.
    Raises InvalidInput for what does not exist, and if nothing is found.
    """
    found: dict[Path, Leaf] = {}
    asked = [str(place) for place in documents]
    for place in asked:
        for leaf in _find(place, base):
            found.setdefault(leaf.path.resolve(), leaf)
    if not found:
        message = f"No documents in {', '.join(asked) or 'nothing'}: looked for files {_SUFFIXES}."
        raise InvalidInput(message)
    return sorted(found.values(), key=lambda leaf: (leaf.name, leaf.path))


def read_pages(leaves: Iterable[Leaf], faults: list[Fault]) -> Iterator[Page]:
    """Read file by file; what cannot be read is added to `faults`, and the rest goes on.

    Raises InvalidInput when there are too many faults to go on.
    """
    for leaf in leaves:
        try:
            yield from _read(leaf, faults)
        except (OSError, _Unreadable) as error:
            faults.append(Fault(message=str(error), file=str(leaf.path)))
        if len(faults) >= _MAX_FAULTS:
            return


class _Unreadable(ValueError):
    """The file as a whole cannot be read; the message says why."""


def _find(place: str, base: Path) -> Iterator[Leaf]:
    path = base / place
    if path.is_dir():
        yield from _below(path, "**/*")
    elif path.is_file():
        if path.suffix.lower() not in _FORMS:
            raise InvalidInput(f"{path}: not one of {_SUFFIXES}.")
        yield Leaf(path, path.name)
    elif any(sign in place for sign in "*?["):
        parts = path.parts
        first = next(n for n, part in enumerate(parts) if any(sign in part for sign in "*?["))
        yield from _below(Path(*parts[:first]), "/".join(parts[first:]))
    else:
        raise InvalidInput(f"{path}: there is no such file or folder.")


def _below(folder: Path, pattern: str) -> Iterator[Leaf]:
    for path in folder.glob(pattern):
        name = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in _FORMS and not is_hidden and path.is_file():
            yield Leaf(path, name.as_posix())


def _read(leaf: Leaf, faults: list[Fault]) -> Iterator[Page]:
    form = _FORMS[leaf.path.suffix.lower()]
    if form == "records":
        yield from _read_records(leaf, faults)
        return
    if leaf.path.stat().st_size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // 2**20
        raise _Unreadable(f"Larger than {limit} MiB; cut it into files, or make it a .jsonl.")
    text = _decode(leaf.path.read_bytes())
    metadata: dict[str, object] = {}
    if form == "markdown":
        given, text = split_front_matter(text)
        metadata = {str(key): _plain_value(value) for key, value in given.items()}
    yield Page(source=leaf.name, text=text, is_markdown=form == "markdown", metadata=metadata)


def _read_records(leaf: Leaf, faults: list[Fault]) -> Iterator[Page]:
    with leaf.path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES:
                limit = MAX_LINE_BYTES // 2**20
                raise _Unreadable(f"Line {number} is longer than {limit} MiB.")
            if not line.strip():
                continue
            try:
                record = msgspec.json.decode(_decode(line), type=_Record)
            except (msgspec.DecodeError, _Unreadable) as error:
                message = f'{error}. A line is {{"text": …, "id": …, "metadata": {{…}}}}.'
                faults.append(Fault(message=message, file=str(leaf.path), line=number))
                if len(faults) >= _MAX_FAULTS:
                    return
                continue
            name = None if record.id is None else str(record.id)
            yield Page(
                source=leaf.name,
                text=record.text,
                id=name,
                line=number,
                is_record=True,
                metadata=record.metadata,
            )


def _decode(data: bytes) -> str:
    if b"\x00" in data:
        raise _Unreadable("Not text: it holds NUL bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"Not UTF-8: byte {data[error.start]:#04x} at {error.start}") from error


def _plain_value(value: object) -> object:
    """Give a YAML value as JSON has it: dates become ISO strings."""
    if isinstance(value, dict):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)
