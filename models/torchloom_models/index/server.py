"""A PostgreSQL server: its connections, its password, its pgvector, and how its failures read.

Knows no index: what the tables hold is `postgres.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from torchloom.errors import ModelLoadError
from torchloom_models.index.store import Location


MAX_CONNECTIONS = 4

_CONNECT_TIMEOUT_S = 10
_MIN_PGVECTOR = (0, 8)  # the first with iterative scans: filters would lose results before


class Server:
    """Lends connections, and makes new ones where the server has cut the old."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._pool: ConnectionPool | None = None

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Lend a connection; the library's errors become ModelLoadError, without any secret."""
        try:
            with self._opened().connection() as connection:
                yield connection
        except PoolTimeout as error:
            reason = f"no connection within {_CONNECT_TIMEOUT_S} s"
            raise ModelLoadError(self.describe(reason)) from error
        except psycopg.Error as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise ModelLoadError(self.describe(lines[0])) from error

    def _opened(self) -> ConnectionPool:
        if self._pool is None:
            password = self._location.password
            secret = {} if password is None else {"password": password}
            source = make_conninfo(
                self._location.source,
                connect_timeout=_CONNECT_TIMEOUT_S,
                application_name="torchloom",
                **secret,
            )
            with psycopg.connect(source) as connection:
                self._check_extension(connection)
            self._pool = ConnectionPool(
                source,
                kwargs={"autocommit": True},
                min_size=1,
                max_size=MAX_CONNECTIONS,
                timeout=_CONNECT_TIMEOUT_S,
                configure=_configure,
                check=ConnectionPool.check_connection,
                open=True,
            )
        return self._pool

    def _check_extension(self, connection: psycopg.Connection) -> None:
        """Make sure of pgvector, and of a version that filters without losing results."""
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        found = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
        release = tuple(int(part) for part in found[0].split(".")[:2]) if found else ()
        if release < _MIN_PGVECTOR:
            needed = ".".join(map(str, _MIN_PGVECTOR))
            reason = f"the server has pgvector {found and found[0]}; {needed} or newer is needed"
            raise ModelLoadError(self.describe(reason))

    def describe(self, reason: str) -> str:
        """Say what is the matter with which index; without user, query and password of the URL."""
        location = self._location
        url = urlsplit(location.source)
        place = f"postgresql://{url.hostname or 'local'}{url.path}"
        return f"Index {location.name!r} ({place}, table {location.table}): {reason}."

    def close(self) -> None:
        """Close the connections; they are made again when they are needed."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None


def _configure(connection: psycopg.Connection) -> None:
    register_vector(connection)
    # Goes on along the graph until enough passages pass the filter, and keeps the order exact.
    connection.execute("SET hnsw.iterative_scan = strict_order")
    connection.execute("SET hnsw.ef_search = 100")
