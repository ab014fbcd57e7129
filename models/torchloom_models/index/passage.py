"""Passages, and how an index of them was built. Knows no store, no file and no model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from torchloom.errors import InvalidInput


#: How near two vectors are: their angle, their inner product, or their distance.
Metric = Literal["cosine", "dot", "l2"]

#: A value that a filter can compare.
Scalar = str | int | float | bool

MAX_ID_LENGTH = 1024
MAX_TEXT_LENGTH = 1_000_000
_MAX_DEPTH = 16
_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of text that a search can find. `metadata` holds JSON values."""

    id: str
    text: str
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def searchable(self) -> str:
        """The text that is embedded: title and section go before it, as they give it meaning."""
        named = (self.metadata.get(key) for key in ("title", "section"))
        heading = " > ".join(part for part in named if isinstance(part, str) and part)
        return f"{heading}\n{self.text}" if heading else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A passage that a search found. A higher `score` is a better match."""

    id: str
    text: str
    score: float
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an index records about itself. `embedder` names the model that its vectors come from."""

    dimension: int
    metric: Metric = "cosine"
    embedder: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages and their vectors, [passages, dimension] float32, in the same order."""

    passages: Sequence[Passage]
    vectors: np.ndarray


def check_passage(passage: Passage) -> None:
    """Raise InvalidInput for a passage that not every store could keep and give back unchanged."""
    where = f"Passage {passage.id[:80]!r}"
    if not 0 < len(passage.id) <= MAX_ID_LENGTH:
        raise InvalidInput(f"{where}: an id has 1 to {MAX_ID_LENGTH} characters.")
    if len(passage.text) > MAX_TEXT_LENGTH:
        message = f"{where}: {len(passage.text)} characters of text; cut it into smaller passages."
        raise InvalidInput(message)
    _check_text(passage.id, f"{where}: the id")
    _check_text(passage.text, f"{where}: the text")
    _check_json(dict(passage.metadata), f"{where}: metadata", depth=0)


def filterable(metadata: Mapping[str, object]) -> dict[str, Scalar | list[Scalar]]:
    """Give the part of the metadata that filters see: scalars, and lists of scalars.

    Nulls, empty lists and nested objects count as absent.
    """
    fields: dict[str, Scalar | list[Scalar]] = {}
    for name, value in metadata.items():
        if isinstance(value, list):
            items = [item for item in value if isinstance(item, Scalar)]
            if items:
                fields[name] = items
        elif isinstance(value, Scalar):
            fields[name] = value
    return fields


def to_vectors(rows: object, *, facts: Facts, of: str) -> np.ndarray:
    """Give `rows` as a float32 array [rows, dimension]; `of` says in errors whose vectors they are.

    Raises InvalidInput for another shape, for NaN and infinity, and for a vector of zeros where the
    metric is cosine, since it points nowhere.
    """
    try:
        vectors = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{of}: a vector is a list of numbers ({error}).") from error
    if vectors.ndim != 2 or vectors.shape[1] != facts.dimension:  # noqa: PLR2004 - rows by columns
        got = vectors.shape[-1] if vectors.ndim else "no"
        embedder = f" It was built with the embedder {facts.embedder!r}." if facts.embedder else ""
        message = (
            f"{of}: {got} numbers, but the index holds vectors of {facts.dimension}.{embedder}"
        )
        raise InvalidInput(message)
    if not np.isfinite(vectors).all():
        raise InvalidInput(f"{of}: NaN or infinity in a vector.")
    if facts.metric == "cosine" and not vectors.any(axis=1).all():
        raise InvalidInput(
            f"{of}: a vector of zeros has no direction, so cosine cannot compare it."
        )
    return vectors


def _check_text(text: str, where: str) -> None:
    if "\x00" in text:
        raise InvalidInput(f"{where} holds a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{where} holds half of a surrogate pair.") from error


def _check_json(  # noqa: C901 - one case for each kind of JSON value
    value: object, where: str, *, depth: int
) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"{where} is nested deeper than {_MAX_DEPTH} levels.")
    match value:
        case None | bool():
            pass
        case str():
            _check_text(value, where)
        case int() if abs(value) > _MAX_INTEGER:
            raise InvalidInput(f"{where} holds an integer of more than 64 bits.")
        case float() if not math.isfinite(value):
            raise InvalidInput(f"{where} holds {value}, which JSON has no word for.")
        case int() | float():
            pass
        case list():
            for item in value:
                _check_json(item, where, depth=depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise InvalidInput(f"{where} has the key {key!r}; keys are strings.")
                _check_text(key, where)
                _check_json(item, where, depth=depth + 1)
        case _:
            raise InvalidInput(f"{where} holds a {type(value).__name__}, which is no JSON value.")
