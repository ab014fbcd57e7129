"""The store in a server: PostgreSQL with the pgvector extension, reached through psycopg.

One table an index; its facts are the table's comment, so that both change in one transaction. Every
value, field names included, is a bound parameter; of names, statements hold the table's alone,
quoted. Knows no model and no file of documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import LiteralString, cast

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Json

from torchloom.errors import ModelLoadError
from torchloom_models.index.condition import Condition
from torchloom_models.index.passage import Batch, Facts, Match, Metric, filterable, to_vectors
from torchloom_models.index.server import MAX_CONNECTIONS, Server
from torchloom_models.index.store import IndexBusy, Location, Query
from torchloom_models.index.where import to_where


#: From this many passages on, searches use a nearest-neighbour graph and not every vector.
APPROXIMATE_FROM = 50_000

_FORMAT = 1

#: How often a table is looked for before it counts as missing.
_LOOKS = 3
_MAX_GRAPH_DIMENSION = 2000  # pgvector's limit for an HNSW index over float32


@dataclass(frozen=True, slots=True)
class _Measure:
    """How pgvector spells a metric, and how its distance becomes a score."""

    operator: LiteralString
    operator_class: LiteralString
    score: Callable[[float], float]


_MEASURES: dict[Metric, _Measure] = {
    "cosine": _Measure("<=>", "vector_cosine_ops", lambda distance: 1 - distance),
    "dot": _Measure("<#>", "vector_ip_ops", lambda distance: -distance),
    "l2": _Measure("<->", "vector_l2_ops", lambda distance: 1 / (1 + distance)),
}


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """The table's comment."""

    torchloom_index: int = _FORMAT
    dimension: int
    metric: Metric
    embedder: str | None


class PostgresStore:
    """A Store in a PostgreSQL database. The searches of a batch run on several connections."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._server = Server(location)
        self._threads: ThreadPoolExecutor | None = None
        self._table = sql.Identifier(location.table)

    def facts(self) -> Facts:
        """Say how the index was built."""
        with self._server.connection() as connection:
            return self._facts(connection)

    def search(self, queries: Sequence[Query]) -> list[list[Match]]:
        """Find the nearest passages for each query."""
        if not queries:
            return []
        facts = self.facts()
        to_vectors([query.vector for query in queries], facts=facts, of="The query")

        def find(query: Query) -> list[Match]:
            return self._search(query, facts.metric)

        if len(queries) == 1:
            return [find(queries[0])]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, "torchloom-index")
        return list(self._threads.map(find, queries))

    def count(self, conditions: Sequence[Condition] = ()) -> int:
        """Count the passages that pass all conditions."""
        where, values = to_where(conditions)
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(self._table, where)
        with self._server.connection() as connection:
            self._facts(connection)
            row = connection.execute(statement, values).fetchone()
        return cast("int", row[0]) if row else 0

    def ids(self) -> set[str]:
        """Give the ids of all passages."""
        with self._server.connection() as connection:
            self._facts(connection)
            statement = sql.SQL("SELECT id FROM {}").format(self._table)
            return {row[0] for row in connection.execute(statement)}

    def replace(self, batches: Iterable[Batch], facts: Facts) -> int:
        """Fill a new table, and let it take the place of the old one."""
        fresh = sql.Identifier(f"{self._location.table}__building")
        with self._server.connection() as connection, self._locked(connection):
            self._note(connection)  # raises where the table is someone else's
            with connection.transaction():
                _create(connection, fresh, facts)
                for batch in batches:
                    self._write(connection, fresh, batch, facts)
                count = _build_graph(connection, fresh, facts)
                drop = sql.SQL("DROP TABLE IF EXISTS {}").format(self._table)
                rename = sql.SQL("ALTER TABLE {} RENAME TO {}").format(fresh, self._table)
                connection.execute(drop)
                connection.execute(rename)
            connection.execute(sql.SQL("ANALYZE {}").format(self._table))
        return count

    def upsert(self, batch: Batch) -> None:
        """Add or replace passages."""
        with self._server.connection() as connection, self._locked(connection):
            facts = self._facts(connection)
            with connection.transaction():
                self._write(connection, self._table, batch, facts)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove passages."""
        with self._server.connection() as connection, self._locked(connection):
            self._facts(connection)
            statement = sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._table)
            return connection.execute(statement, [list(ids)]).rowcount

    def close(self) -> None:
        """Close the connections."""
        if self._threads is not None:
            self._threads.shutdown()
        self._server.close()
        self._threads = None

    def _search(self, query: Query, metric: Metric) -> list[Match]:
        measure = _MEASURES[metric]
        where, values = to_where(query.conditions)
        statement = sql.SQL(
            "SELECT id, text, metadata, vector {} %s AS distance FROM {} WHERE {}"
            " ORDER BY distance, id LIMIT %s"
        ).format(sql.SQL(measure.operator), self._table, where)
        with self._server.connection() as connection:
            values = [query.vector, *values, query.top_k]
            rows = connection.execute(statement, values).fetchall()
        matches = [
            Match(id=name, text=text, score=measure.score(distance), metadata=metadata)
            for name, text, metadata, distance in rows
        ]
        return sorted(matches, key=lambda match: (-match.score, match.id))

    def _write(
        self,
        connection: psycopg.Connection,
        table: sql.Identifier,
        batch: Batch,
        facts: Facts,
    ) -> None:
        vectors = to_vectors(batch.vectors, facts=facts, of="The passages")
        statement = sql.SQL(
            "INSERT INTO {} (id, text, metadata, fields, vector) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET text = excluded.text, metadata = excluded.metadata,"
            " fields = excluded.fields, vector = excluded.vector"
        ).format(table)
        rows = (
            (part.id, part.text, _json(part.metadata), _json(filterable(part.metadata)), vector)
            for part, vector in zip(batch.passages, vectors, strict=True)
        )
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)

    def _facts(self, connection: psycopg.Connection) -> Facts:
        note = self._note(connection)
        if note is None:
            raise ModelLoadError(
                self._server.describe(f"there is no index. {self._location.remedy}")
            )
        if note.torchloom_index != _FORMAT:
            reason = (
                f"its format is {note.torchloom_index}; this version reads {_FORMAT}. "
                f"{self._location.remedy}"
            )
            raise ModelLoadError(self._server.describe(reason))
        return Facts(dimension=note.dimension, metric=note.metric, embedder=note.embedder)

    def _note(self, connection: psycopg.Connection) -> _Note | None:
        """Read the table's comment; None where there is no table."""
        query = "SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE oid = to_regclass(%s)"
        # A table may take another's place between the statement's snapshot and the look-up of its
        # name, which does not keep to the snapshot: what is missing is looked for again.
        for _ in range(_LOOKS):
            row = connection.execute(query, [self._table.as_string(connection)]).fetchone()
            if row is not None and row[0]:
                break
        if row is None:
            return None
        try:
            return msgspec.json.decode(row[0] or "", type=_Note)
        except msgspec.DecodeError as error:
            reason = "the table was not made by TorchLoom. Name another as `table`"
            raise ModelLoadError(self._server.describe(reason)) from error

    @contextmanager
    def _locked(self, connection: psycopg.Connection) -> Iterator[None]:
        """Hold the right to write; the server frees it when the connection ends, in any way."""
        key = f"torchloom index {self._location.table}"
        row = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key]
        ).fetchone()
        if not row or not row[0]:
            reason = "another build of it is going on. Wait for that one to end, and try again"
            raise IndexBusy(self._server.describe(reason))
        try:
            yield
        finally:
            if not connection.broken:
                connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


def _create(connection: psycopg.Connection, table: sql.Identifier, facts: Facts) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    columns = sql.SQL(
        "CREATE TABLE {} (id text PRIMARY KEY, text text NOT NULL, metadata json NOT NULL,"
        " fields jsonb NOT NULL, vector vector({}) NOT NULL)"
    ).format(table, sql.Literal(facts.dimension))
    connection.execute(columns)
    note = _Note(dimension=facts.dimension, metric=facts.metric, embedder=facts.embedder)
    comment = sql.Literal(msgspec.json.encode(note).decode())
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, comment))


def _build_graph(connection: psycopg.Connection, table: sql.Identifier, facts: Facts) -> int:
    """Count the rows, and index the vectors where there are too many to compare with each."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    count = cast("int", row[0]) if row else 0
    if count >= APPROXIMATE_FROM and facts.dimension <= _MAX_GRAPH_DIMENSION:
        connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        operators = sql.SQL(_MEASURES[facts.metric].operator_class)
        statement = sql.SQL("CREATE INDEX ON {} USING hnsw (vector {})").format(table, operators)
        connection.execute(statement)
    return count


def _json(value: Mapping[str, object]) -> Json:
    return Json(dict(value), dumps=partial(json.dumps, ensure_ascii=False))
