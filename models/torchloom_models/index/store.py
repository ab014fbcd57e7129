"""The face of every vector store, and the choice of one by its source. Imports no database.

A store keeps passages and their vectors, and finds the nearest ones. What it promises stands here;
one contract test runs over all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import parse_qs, urlsplit

import numpy as np

from torchloom.errors import InvalidModel, ModelError, ModelLoadError
from torchloom_models.index.condition import Condition
from torchloom_models.index.passage import Batch, Facts, Match


MAX_TOP_K = 1000
DEFAULT_TABLE = "torchloom_index"

_SERVER_SCHEMES = ("postgresql://", "postgres://")
_TABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")


class IndexBusy(ModelError):
    """Another build of the same index is going on."""

    status: ClassVar[int] = 409
    title: ClassVar[str] = "The index is being built"


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: those nearest to `vector` ([dimension] float32) that pass `conditions`."""

    vector: np.ndarray
    top_k: int
    conditions: tuple[Condition, ...] = ()


class Store(Protocol):
    """Passages and vectors, kept on disk or in a server. Used from one thread at a time.

    Every write is atomic: readers, in this process or another, see the index as it was before or as
    it is after, also when the writer is killed. A reader sees what was written last without opening
    the store again. One writer at a time; the next gets IndexBusy.
    """

    def facts(self) -> Facts:
        """Say how the index was built. Raises ModelLoadError if it is absent or damaged."""
        ...

    def search(self, queries: Sequence[Query]) -> list[list[Match]]:
        """Find the `top_k` best for each query, best first; equal scores are in the order of ids.

        Scores: cosine similarity, inner product, or 1 / (1 + distance). Raises InvalidInput for
        a vector that does not fit, and ModelLoadError like `facts`.
        """
        ...

    def count(self, conditions: Sequence[Condition] = ()) -> int:
        """Count the passages that pass all conditions."""
        ...

    def ids(self) -> set[str]:
        """Give the ids of all passages."""
        ...

    def replace(self, batches: Iterable[Batch], facts: Facts) -> int:
        """Put these in the place of everything, or make the index; give how many there are now.

        Holds one batch in memory at a time. A later passage with the same id wins.
        """
        ...

    def upsert(self, batch: Batch) -> None:
        """Add passages; those with a known id take the place of the old ones."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove these passages; give how many of them there were."""
        ...

    def close(self) -> None:
        """Let go of files and connections. It may be used again, and opens again by itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where an index is: a folder, or a PostgreSQL server's URL and a table there.

    The password is read from the environment variable `password_env` when a connection is made; it
    stands in no file, no log and no error.
    """

    source: str
    table: str = DEFAULT_TABLE
    password_env: str | None = None
    name: str = field(default="index")

    def __post_init__(self) -> None:
        """Raise InvalidModel for a table that is no plain name, and for a password in the URL."""
        if not _TABLE.match(self.table):
            message = (
                f"Index {self.name!r}: table {self.table!r}: letters, digits and underscores, at "
                "most 40, and no digit first."
            )
            raise InvalidModel(message)
        if self.is_server and self._has_password():
            message = (
                f"Index {self.name!r}: source: a URL in a model file must not hold a password. "
                "Take it out, put it in an environment variable, and name that: password_env: NAME."
            )
            raise InvalidModel(message)

    def _has_password(self) -> bool:
        try:
            url = urlsplit(self.source)
        except ValueError as error:
            message = f"Index {self.name!r}: source is no URL of a PostgreSQL server ({error})."
            raise InvalidModel(message) from error
        return url.password is not None or "password" in parse_qs(url.query)

    @property
    def is_server(self) -> bool:
        """Whether a database server holds it."""
        return self.source.startswith(_SERVER_SCHEMES)

    @property
    def password(self) -> str | None:
        """The password, if a variable is named. Raises ModelLoadError where that is not set."""
        if self.password_env is None:
            return None
        password = os.environ.get(self.password_env)
        if password is None:
            message = (
                f"Index {self.name!r}: password_env: the environment variable {self.password_env}, "
                "which is to hold the password of the database, is not set."
            )
            raise ModelLoadError(message)
        return password

    @property
    def remedy(self) -> str:
        """The sentence that says how to get a sound index."""
        return f"Build it with: torchloom index build FILE --index {self.name}"


def open_store(location: Location) -> Store:
    """Give the store for a location, without touching it yet; imports the database's library.

    Raises ModelLoadError where that is not installed.
    """
    if not location.is_server:
        from torchloom_models.index.embedded import EmbeddedStore  # noqa: PLC0415 - on first use

        return EmbeddedStore(Path(location.source), location)
    try:
        from torchloom_models.index.postgres import PostgresStore  # noqa: PLC0415 - on first use
    except ImportError as error:
        message = (
            f"Index {location.name!r} is in PostgreSQL, and {error.name} is not installed. "
            "Install it with: pip install 'torchloom[postgres]'"
        )
        raise ModelLoadError(message) from error
    return PostgresStore(location)
