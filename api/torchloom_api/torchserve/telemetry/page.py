"""Parts of a page in Prometheus' text format, by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final


_HELP: Final = b"# HELP "

#: What may follow a family's name in those of its samples.
_SUFFIXES: Final = ("", "_total", "_created", "_bucket", "_count", "_sum")


def pick_families(page: bytes, names: Collection[str]) -> bytes:
    """Give the families of which one of these names is asked for; without names, all."""
    if not names:
        return page
    kept: list[bytes] = []
    is_kept = False
    for line in page.splitlines(keepends=True):
        if line.startswith(_HELP):
            family = line.split(b" ", 3)[2].decode()
            stem = family.removesuffix("_total")
            is_kept = any(each in names for end in _SUFFIXES for each in (stem + end, family))
        if is_kept:
            kept.append(line)
    return b"".join(kept)
