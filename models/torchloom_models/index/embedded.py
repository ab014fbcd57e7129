"""The store on disk: Qdrant Edge, the search engine of Qdrant as a library in this process.

Knows no model and no file of documents. How generations come into force is `generation.py`'s.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import cast

import qdrant_edge as qdrant

from torchloom.errors import ModelLoadError
from torchloom_models.index.condition import Condition
from torchloom_models.index.generation import IndexFolder, Manifest, Stamp, file_sizes
from torchloom_models.index.passage import Batch, Facts, Match, Metric, to_vectors
from torchloom_models.index.payload import to_fields, to_filter, to_payload
from torchloom_models.index.store import Location, Query


_DISTANCES: dict[Metric, qdrant.Distance] = {
    "cosine": qdrant.Distance.Cosine,
    "dot": qdrant.Distance.Dot,
    "l2": qdrant.Distance.Euclid,
}
_LIBRARY = f"qdrant-edge {version('qdrant-edge-py')}"
_NAMESPACE = uuid.UUID("7a1c1c38-3f0e-5d3c-9b53-0d1f6a3f4c11")  # of the points' ids: any fixed one
_PAGE = 1000
_MAX_INDEXED_FIELDS = 64

#: From this many passages on, searches use a nearest-neighbour graph and not every vector. To
#: compare 100,000 takes about 10 ms; the graph of so many takes minutes to build.
APPROXIMATE_FROM = 200_000

_INDEX_FIELDS_FROM = 2000  # filters on fewer passages are quick without
_KEYWORD, _FLOAT = qdrant.PayloadSchemaType.Keyword, qdrant.PayloadSchemaType.Float


class EmbeddedStore:
    """A Store in a folder. Searches release the GIL; up to APPROXIMATE_FROM they are exact.

    A change of any size writes the whole index anew: change many passages at once.
    """

    def __init__(self, path: Path, location: Location) -> None:
        self._folder = IndexFolder(path, location)
        self._shard: qdrant.EdgeShard | None = None
        self._manifest: Manifest | None = None
        self._stamp: Stamp | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    def facts(self) -> Facts:
        """Say how the index was built."""
        self._open()
        return self._opened_facts()

    def search(self, queries: Sequence[Query]) -> list[list[Match]]:
        """Find the nearest passages for each query, all queries in one pass over the vectors."""
        if not queries:
            return []
        shard = self._open()
        facts = self._opened_facts()
        to_vectors([query.vector for query in queries], facts=facts, of="The query")
        asked = [_to_request(query, limit=query.top_k + 1) for query in queries]
        answers = shard.query_batch(qdrant.QueryBatchRequest(asked))
        return [
            _to_matches(_settle_ties(shard, query, points), query, facts.metric)
            for query, points in zip(queries, answers, strict=True)
        ]

    def count(self, conditions: Sequence[Condition] = ()) -> int:
        """Count the passages that pass all conditions."""
        request = qdrant.CountRequest(exact=True, filter=to_filter(conditions))
        return self._open().count(request)

    def ids(self) -> set[str]:
        """Give the ids of all passages."""
        return {str(payload["id"]) for payload in _payloads(self._open(), ["id"])}

    def replace(self, batches: Iterable[Batch], facts: Facts) -> int:
        """Write a new generation and put it in force; raise IndexBusy if another build goes on."""

        def write(folder: Path) -> None:
            with _closing(_create(folder, facts)) as shard:
                keys: set[str] = set()
                for batch in batches:
                    _write(shard, batch, facts)
                    keys.update(*map(to_fields, batch.passages))
                _index(shard, keys)

        return self._rewrite(write, facts)

    def upsert(self, batch: Batch) -> None:
        """Add or replace passages."""
        facts = self.facts()

        def write(folder: Path) -> None:
            with _closing(self._copy_to(folder)) as shard:
                _write(shard, batch, facts)

        self._rewrite(write, facts)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove passages."""
        facts, before = self.facts(), 0

        def write(folder: Path) -> None:
            nonlocal before
            with _closing(self._copy_to(folder)) as shard:
                before = shard.count(qdrant.CountRequest())
                points: list[int | uuid.UUID | str] = [_point_id(name) for name in ids]
                shard.update(qdrant.UpdateOperation.delete_points(points))

        after = self._rewrite(write, facts)
        return before - after

    def close(self) -> None:
        """Let go of the open generation."""
        if self._shard is not None:
            self._shard.close()
        if self._copy is not None:
            self._copy.cleanup()
        self._shard = self._manifest = self._stamp = self._copy = None

    def _open(self) -> qdrant.EdgeShard:
        """Give the generation that is in force now."""
        stamp = self._folder.stamp()
        if self._shard is not None and stamp == self._stamp:
            return self._shard
        while True:
            try:
                return self._load(stamp)
            except ModelLoadError:
                self.close()
                # Another generation may have come into force between our reading and opening.
                before, stamp = stamp, self._folder.stamp()
                if stamp == before:
                    raise

    def _opened_facts(self) -> Facts:
        manifest = cast("Manifest", self._manifest)
        return Facts(
            dimension=manifest.dimension, metric=manifest.metric, embedder=manifest.embedder
        )

    def _load(self, stamp: Stamp | None) -> qdrant.EdgeShard:
        self.close()
        manifest = self._folder.manifest()
        path = self._readable(self._folder.generation(manifest))
        with self._translated():
            shard = qdrant.EdgeShard.load(str(path))
            found = shard.count(qdrant.CountRequest())
        if found != manifest.num_passages:
            shard.close()
            reason = f"{found} passages in place of {manifest.num_passages}"
            self._folder.damaged(ValueError(reason))
        self._shard, self._manifest, self._stamp = shard, manifest, stamp
        return shard

    def _readable(self, generation: Path) -> Path:
        """Give a folder that the library can open: it opens files for writing, always."""
        try:
            with tempfile.TemporaryFile(dir=generation):
                return generation
        except OSError:
            self._copy = tempfile.TemporaryDirectory(prefix="torchloom-index-")
            copy = Path(self._copy.name) / generation.name
            shutil.copytree(generation, copy, copy_function=shutil.copyfile)
            for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
                folder.chmod(0o700)  # copytree keeps the modes of folders
            return copy

    def _copy_to(self, folder: Path) -> qdrant.EdgeShard:
        source = self._folder.generation(self._folder.manifest())
        shutil.copytree(source, folder, dirs_exist_ok=True)
        with self._translated():
            return qdrant.EdgeShard.load(str(folder))

    def _rewrite(self, write: Callable[[Path], None], facts: Facts) -> int:
        folder = self._folder
        with folder.lock(), folder.new_generation() as generation:
            write(generation)
            # The library finishes some files when it opens them for the first time.
            with _closing(qdrant.EdgeShard.load(str(generation))) as shard:
                count = shard.count(qdrant.CountRequest())
            manifest = Manifest(
                library=_LIBRARY,
                generation=generation.name,
                num_passages=count,
                dimension=facts.dimension,
                metric=facts.metric,
                embedder=facts.embedder,
                files=file_sizes(generation),
            )
            folder.publish(manifest)
        return count

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the library raises on damaged files into ModelLoadError."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            self._folder.damaged(error)
        except BaseException as error:
            # A panic of the library's Rust code is a BaseException; its class is not exported.
            if type(error).__name__ != "PanicException":
                raise
            self._folder.damaged(error)


@contextmanager
def _closing(shard: qdrant.EdgeShard) -> Iterator[qdrant.EdgeShard]:
    try:
        yield shard
        shard.flush()
    finally:
        shard.close()


def _create(folder: Path, facts: Facts) -> qdrant.EdgeShard:
    vectors = qdrant.EdgeVectorParams(size=facts.dimension, distance=_DISTANCES[facts.metric])
    # Without a log: a generation that was not finished never comes into force.
    return qdrant.EdgeShard.create(str(folder), qdrant.EdgeConfig(vectors, wal_enabled=False))


def _write(shard: qdrant.EdgeShard, batch: Batch, facts: Facts) -> None:
    vectors = to_vectors(batch.vectors, facts=facts, of="The passages")
    pairs = zip(batch.passages, vectors, strict=True)
    while page := list(islice(pairs, _PAGE)):
        points = [
            qdrant.Point(_point_id(passage.id), vector.tolist(), to_payload(passage))
            for passage, vector in page
        ]
        shard.update(qdrant.UpdateOperation.upsert_points(points))


def _index(shard: qdrant.EdgeShard, keys: set[str]) -> None:
    """Make what a large index needs: quick filters on its fields, and a graph over its vectors."""
    count = shard.count(qdrant.CountRequest())
    if count >= _INDEX_FIELDS_FROM:
        for key in sorted(keys)[:_MAX_INDEXED_FIELDS]:
            kind = _KEYWORD if key.startswith("word") else _FLOAT
            shard.update(qdrant.UpdateOperation.create_field_index(f"fields.{key}", kind))
    if count >= APPROXIMATE_FROM:
        shard.optimize()


def _point_id(passage_id: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, passage_id)


def _to_request(query: Query, *, limit: int) -> qdrant.QueryRequest:
    return qdrant.QueryRequest(
        limit=limit,
        query=qdrant.Query.Nearest(query.vector.tolist()),
        filter=to_filter(query.conditions),
        with_payload=["id", "text", "metadata"],
    )


def _settle_ties(
    shard: qdrant.EdgeShard, query: Query, points: list[qdrant.ScoredPoint]
) -> list[qdrant.ScoredPoint]:
    """Fetch more until no tie crosses the last place, so that ids can decide who is in."""
    limit = query.top_k + 1
    while len(points) == limit and points[query.top_k - 1].score == points[-1].score:
        limit *= 2
        points = shard.query(_to_request(query, limit=limit))
    return points


def _to_matches(points: list[qdrant.ScoredPoint], query: Query, metric: Metric) -> list[Match]:
    matches = [
        Match(
            id=cast("str", payload["id"]),
            text=cast("str", payload["text"]),
            score=1 / (1 + point.score) if metric == "l2" else point.score,
            metadata=json.loads(cast("str", payload["metadata"])),
        )
        for point in points
        if (payload := point.payload) is not None
    ]
    return sorted(matches, key=lambda match: (-match.score, match.id))[: query.top_k]


def _payloads(shard: qdrant.EdgeShard, names: list[str]) -> Iterator[dict[str, object]]:
    offset = None
    while True:
        request = qdrant.ScrollRequest(offset=offset, limit=_PAGE, with_payload=names)
        points, offset = shard.scroll(request)
        yield from (point.payload for point in points if point.payload is not None)
        if offset is None:
            return
