"""Citations: the sources of a workflow's answer, and OpenAI's annotations of them.

Knows no run and no route.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that an answer rests on: all of it, from `start_index` to `end_index`.

    `url` names the passage as well as it is known: its address, else its file, else its id. OpenAI
    knows neither `content`, the passage itself, nor `score`.
    """

    start_index: int
    end_index: int
    title: str
    url: str
    content: str | UnsetType = UNSET
    score: float | UnsetType = UNSET


class ChatAnnotation(msgspec.Struct, frozen=True, kw_only=True):
    """A citation in a chat completion."""

    url_citation: Citation
    type: Literal["url_citation"] = "url_citation"


class TextAnnotation(Citation, frozen=True, kw_only=True):
    """A citation in a response."""

    type: Literal["url_citation"] = "url_citation"

    @classmethod
    def of(cls, citation: Citation) -> TextAnnotation:
        """Write a citation in this form."""
        return cls(**msgspec.structs.asdict(citation))


def to_citations(sources: object, length: int) -> tuple[Citation, ...]:
    """Read the output `sources` of a workflow whose answer has so many characters.

    Each is a mapping (`id`, `text`, `score`, `metadata` as an index gives them; `url` and `title`
    go before those of the metadata), or a text, its address. One without a name is called by its
    number, `#1`.
    """
    if not isinstance(sources, list | tuple):
        return ()
    return tuple(
        _to_citation(source, _name(source) or f"#{number}", length)
        for number, source in enumerate(sources, 1)
    )


def _to_citation(source: object, url: str, length: int) -> Citation:
    return Citation(
        start_index=0,
        end_index=length,
        title=_first_text(source, "title") or url,
        url=url,
        content=_first_text(source, "text") or UNSET,
        score=_to_score(source),
    )


def _name(source: object) -> str:
    if isinstance(source, str):
        return source
    keys = ("url", "source", "id")
    return next((name for name in (_first_text(source, key) for key in keys) if name), "")


def _first_text(source: object, key: str) -> str:
    """Give a text of a source, or of its metadata; empty where there is none."""
    values = (place.get(key) for place in _places(source))
    return next((value for value in values if isinstance(value, str) and value), "")


def _places(source: object) -> Iterator[Mapping[object, object]]:
    if isinstance(source, Mapping):
        yield source
        metadata = source.get("metadata")
        if isinstance(metadata, Mapping):
            yield metadata


def _to_score(source: object) -> float | UnsetType:
    score = source.get("score") if isinstance(source, Mapping) else None
    return float(score) if isinstance(score, int | float) else UNSET
