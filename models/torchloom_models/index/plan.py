"""What a model file says about an index, as plain values. Opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from torchloom.errors import InvalidModel
from torchloom_models.index.builder import Documents
from torchloom_models.index.chunker import ChunkPolicy, token_length
from torchloom_models.index.passage import Metric
from torchloom_models.index.store import DEFAULT_TABLE, Location
from torchloom_models.source import resolve_source


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """Where an index is, what it is built from, and what it must agree with when it is served.

    `embedder` and `metric` are None where the file does not say: an index is then served as it is,
    and built with the metric cosine.
    """

    location: Location
    embedder: str | None = None
    metric: Metric | None = None
    documents: tuple[str, ...] = ()
    chunk: ChunkPolicy = field(default_factory=ChunkPolicy)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Read a deployment's config, whose types the model file's schema has checked.

        Raises InvalidModel where `source` is missing, holds a password, or is of no known kind.
        """
        name = str(config.get("name", "index"))
        documents = config.get("documents", ())
        return cls(
            location=_location(config, name),
            embedder=cast("str | None", config.get("embedder")),
            metric=cast("Metric | None", config.get("metric")),
            documents=(documents,) if isinstance(documents, str) else tuple(_strings(documents)),
            chunk=ChunkPolicy(**cast("dict[str, int]", config.get("chunk", {}))),  # type: ignore[arg-type]  # the schema has checked the types
        )

    def to_documents(
        self,
        base: Path,
        places: Sequence[str | Path] = (),
        embedder: Mapping[str, object] | None = None,
    ) -> Documents:
        """Give what to build from: `places` or else the model file's, relative to `base`.

        `embedder` is the config of the embedder's deployment: its tokenizer measures passages where
        the unit is tokens. Raises InvalidModel where there are no places, or no such tokenizer.
        """
        chosen = tuple(places) or self.documents
        if not chosen:
            message = (
                f"Index {self.location.name!r}: nothing to build it from. Name files or folders, "
                "or write `documents: FOLDER` in the model file."
            )
            raise InvalidModel(message)
        length = self._length(embedder or {}) if self.chunk.unit == "tokens" else len
        return Documents(places=chosen, base=base, policy=self.chunk, length=length)

    def _length(self, embedder: Mapping[str, object]) -> Callable[[str], int]:
        source = embedder.get("source")
        if isinstance(source, str):
            tokenizer = resolve_source(source, lambda _doing, _fraction: None) / "tokenizer.json"
            if tokenizer.is_file():
                return token_length(tokenizer)
        message = (
            f"Index {self.location.name!r}: chunk: unit: tokens needs an embedder whose folder "
            "holds a tokenizer.json. Write `embedder: NAME`, or `unit: characters`."
        )
        raise InvalidModel(message)


def _location(config: Mapping[str, object], name: str) -> Location:
    source = config.get("source")
    if not isinstance(source, str):
        message = (
            f"Index {name!r}: `source` is missing: a folder, or postgresql://USER@HOST/DATABASE."
        )
        raise InvalidModel(message)
    location = Location(
        source=source,
        table=str(config.get("table", DEFAULT_TABLE)),
        password_env=cast("str | None", config.get("password_env")),
        name=name,
    )
    if "://" in source and not location.is_server:
        scheme = source.partition("://")[0]
        message = (
            f"Index {name!r}: source: {scheme}:// is no place of an index. Write the path of a "
            "folder, or postgresql://USER@HOST/DATABASE."
        )
        raise InvalidModel(message)
    return location


def _strings(value: object) -> Sequence[str]:
    return [str(item) for item in cast("Sequence[object]", value)]
