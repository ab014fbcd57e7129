"""Demand: which layouts calls have asked for, how often, and a note of it for later starts.

Counts are of this process; the note adds up those of all, and of earlier starts. Compiles nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Hashable, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

import msgspec
import torch
from filelock import FileLock
from torch import Tensor


_log = logging.getLogger(__name__)

#: Layouts that are counted; where there are more, the less asked for half is forgotten.
MAX_COUNTED = 256

#: Layouts that are noted, most asked for first.
MAX_NOTED = 32

#: Where one count passes this, all are halved: what was asked for long ago fades.
_MAX_COUNT = 10_000

_MAX_BYTES = 1024 * 1024


class Like(msgspec.Struct, frozen=True, array_like=True):
    """What code may depend on of a tensor: all but its values and its device."""

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Describe a tensor."""
        name = str(tensor.dtype).removeprefix("torch.")
        return cls(name, tuple(tensor.shape), tuple(tensor.stride()))

    def blank(self, device: str) -> Tensor:
        """Give memory that was never written. Raises RuntimeError where there is none such."""
        dtype = getattr(torch, self.dtype, None)
        if not isinstance(dtype, torch.dtype):
            message = f"there is no dtype {self.dtype!r}"
            raise RuntimeError(message)  # noqa: TRY004 - joins what torch raises
        return torch.empty_strided(self.shape, self.stride, dtype=dtype, device=device)


#: All arguments of one call.
Likes = tuple[Like, ...]


#: Arguments of a layout that are described; a language model has one for each buffer of its cache.
_MAX_DESCRIBED = 3


def describe(likes: Likes) -> str:
    """Say a layout in words: `int64 2x16`, of arguments that are alike the first alone."""
    words = [f"{like.dtype} {'x'.join(map(str, like.shape)) or 'scalar'}" for like in likes]
    kinds = list(dict.fromkeys(words))
    more = len(kinds) - _MAX_DESCRIBED
    return ", ".join(kinds[:_MAX_DESCRIBED]) + (f" and {more} more" if more > 0 else "")


class _Note(msgspec.Struct, frozen=True):
    layout: str
    count: int
    arguments: Likes


class Demand:
    """Counts layouts. `file` is None where nothing is to be noted."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._counts: dict[Hashable, int] = {}
        self._likes: dict[Hashable, Likes] = {}
        #: How much of each count is in the note already.
        self._noted: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def count(self, layout: Hashable, arguments: Sequence[Tensor]) -> None:
        """Count a call."""
        count = self._counts.get(layout)
        if count is None:
            self._begin(layout, arguments)
        else:
            self._counts[layout] = count + 1

    def __getitem__(self, layout: Hashable) -> int:
        """Say how often a layout was asked for here."""
        return self._counts.get(layout, 0)

    def layouts(self) -> list[Likes]:
        """Give the layouts of the note, most asked for first; none where it cannot be read."""
        return [note.arguments for note in self._read()]

    def save(self) -> None:
        """Add what was counted since the last time to the note, whole or not at all."""
        if self._file is None:
            return
        news = self._news()
        if not news:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._file.with_suffix(".lock")):
                self._write(_merged(self._read(), news))
        except OSError as error:
            _log.warning("Which layouts were asked for cannot be noted: %s", error)

    def _begin(self, layout: Hashable, arguments: Sequence[Tensor]) -> None:
        with self._lock:
            if len(self._counts) >= MAX_COUNTED:
                by_count = sorted(self._counts, key=self._counts.__getitem__)
                for rare in by_count[: MAX_COUNTED // 2]:
                    for table in (self._counts, self._likes, self._noted):
                        table.pop(rare, None)
            self._likes[layout] = tuple(Like.of(tensor) for tensor in arguments)
            self._counts[layout] = 1

    def _news(self) -> list[_Note]:
        with self._lock:
            counts = dict(self._counts)
            more = {each: count - self._noted.get(each, 0) for each, count in counts.items()}
            self._noted = counts
            return [
                _Note(repr(layout), count, self._likes[layout])
                for layout, count in more.items()
                if count > 0
            ]

    def _read(self) -> list[_Note]:
        if self._file is None or not self._file.is_file():
            return []
        try:
            if self._file.stat().st_size > _MAX_BYTES:
                return []
            return msgspec.json.decode(self._file.read_bytes(), type=list[_Note])[:MAX_NOTED]
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("The note %s does not read, and counts for nothing: %s", self._file, error)
            return []

    def _write(self, notes: Sequence[_Note]) -> None:
        assert self._file is not None
        text = msgspec.json.format(msgspec.json.encode(notes), indent=1)
        with NamedTemporaryFile(dir=self._file.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, self._file)  # noqa: PTH105 - atomic, and says so


def _merged(old: Sequence[_Note], news: Sequence[_Note]) -> list[_Note]:
    """Add counts up, most asked for first."""
    by_layout = {note.layout: note for note in old}
    for note in news:
        before = by_layout.get(note.layout)
        count = note.count + (before.count if before else 0)
        by_layout[note.layout] = msgspec.structs.replace(before or note, count=count)
    notes = sorted(by_layout.values(), key=lambda note: note.count, reverse=True)[:MAX_NOTED]
    while notes and notes[0].count > _MAX_COUNT:
        notes = [msgspec.structs.replace(note, count=note.count // 2) for note in notes]
    return [note for note in notes if note.count]
