"""Document: what a user wrote, with the place of each value. Knows no file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from torchloom.errors import Fault


def pointer_to(*parts: str | int) -> str:
    """Join keys and indexes to a JSON pointer (RFC 6901), relative to wherever it is used."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain data, and where its values (`marks`) and keys (`key_marks`) stand: line, column.

    Both count from 1. Marks are by absolute JSON pointer. `pointer` says which part of the whole
    this document is.
    """

    data: object
    file: str | None = None
    marks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    key_marks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pointer: str = ""

    def part(self, *parts: str | int) -> Self:
        """Give the part below; raises KeyError or IndexError where there is none."""
        data = self.data
        for step in parts:
            data = data[step]  # type: ignore[index]  # the caller has seen what is there
        return type(self)(
            data=data,
            file=self.file,
            marks=self.marks,
            key_marks=self.key_marks,
            pointer=self.pointer + pointer_to(*parts),
        )

    def fault(self, message: str, *parts: str | int, at_key: bool = False) -> Fault:
        """Make a fault at a part of this document, or at the nearest part around it with a mark."""
        pointer = self.pointer + pointer_to(*parts)
        marks = self.key_marks if at_key and pointer in self.key_marks else self.marks
        place = pointer
        while place and place not in marks:
            place = place.rpartition("/")[0]
        line, column = marks.get(place, (None, None))
        return Fault(
            message=message, file=self.file, line=line, column=column, pointer=pointer or None
        )
