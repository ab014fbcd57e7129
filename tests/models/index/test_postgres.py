"""What is special to an index in PostgreSQL: the server, its password, tables, killed builds."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.index.condition import parse_filter
from torchloom_models.index.passage import Batch, Facts, Passage
from torchloom_models.index.store import Location, Query, Store, open_store


pytestmark = pytest.mark.slow

FACTS = Facts(dimension=4, embedder="minilm")


@pytest.fixture
def location(postgres_url: str, postgres_password: str) -> Location:
    """Give the place of an index that is not there yet."""
    assert postgres_password
    table = f"index_{uuid.uuid4().hex[:12]}"
    return Location(source=postgres_url, table=table, password_env="POSTGRES_WORD", name="handbook")


@pytest.fixture
def store(location: Location) -> Iterator[Store]:
    """Give an index of three passages."""
    store = open_store(location)
    store.replace([batch("one", "two", "three")], FACTS)
    yield store
    store.close()


def batch(*ids: str) -> Batch:
    """Give one passage an id, all with the same vector."""
    passages = [Passage(id=name, text=f"Text of {name}.") for name in ids]
    return Batch(passages, np.ones((len(ids), 4), np.float32))


def connect(location: Location) -> psycopg.Connection:
    """Connect past the store."""
    return psycopg.connect(location.source, password=location.password, autocommit=True)


def test_refuses_a_table_of_someone_else(store: Store, location: Location) -> None:
    """A table that TorchLoom did not make is neither read nor replaced."""
    store.close()
    with connect(location) as connection:
        connection.execute(f"COMMENT ON TABLE {location.table} IS 'payroll, do not touch'")
    for ask in (store.facts, store.count, lambda: store.replace([batch("x")], FACTS)):
        with pytest.raises(ModelLoadError, match="not made by TorchLoom"):
            ask()
    with connect(location) as connection:
        rows = connection.execute(f"SELECT count(*) FROM {location.table}").fetchone()
    assert rows == (3,)


def test_leaves_the_old_index_when_its_build_is_cut_off(store: Store, location: Location) -> None:
    """A build whose connection dies leaves the old table, no lock, and no half table."""

    def batches() -> Iterator[Batch]:
        yield batch("half")
        with connect(location) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'torchloom'"
            )
        yield batch("never")

    with pytest.raises(ModelLoadError, match=r"terminat|closed|lost"):
        store.replace(batches(), FACTS)
    assert store.ids() == {"one", "two", "three"}
    assert store.replace([batch("new")], FACTS) == 1
    with connect(location) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_\\_building'"
        ).fetchone()
    assert left == (0,)


def test_holds_indexes_side_by_side(store: Store, location: Location) -> None:
    """Two indexes with two tables of one database know nothing of each other."""
    other = open_store(
        Location(source=location.source, table=f"{location.table}_b", password_env="POSTGRES_WORD")
    )
    other.replace([batch("other")], Facts(dimension=4, metric="dot"))
    assert (store.count(), other.count()) == (3, 1)
    assert (store.facts().metric, other.facts().metric) == ("cosine", "dot")
    other.close()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_finds_the_same_with_a_graph(
    location: Location, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    """Large tables get an HNSW index, which finds nearly all, also through a narrow filter."""
    postgres = pytest.importorskip("torchloom_models.index.postgres")
    random = np.random.default_rng(0)
    vectors = random.standard_normal((3000, 16)).astype(np.float32)
    passages = [
        Passage(id=f"{n:04}", text="", metadata={"part": n % 50}) for n in range(len(vectors))
    ]
    facts = Facts(dimension=16, metric=metric)  # type: ignore[arg-type]  # of the closed set
    queries = [Query(vector, 20) for vector in vectors[:10]]
    queries += [Query(vector, 20, parse_filter({"part": 7})) for vector in vectors[:10]]
    store = open_store(location)
    store.replace([Batch(passages, vectors)], facts)
    exact = store.search(queries)
    monkeypatch.setattr(postgres, "APPROXIMATE_FROM", 1000)
    store.replace([Batch(passages, vectors)], facts)
    with connect(location) as connection:
        plans = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = %s", [location.table]
        ).fetchall()
    assert any("hnsw" in plan for (plan,) in plans)
    graph = store.search(queries)
    assert [len(matches) for matches in graph] == [20] * 20
    pairs = zip(exact, graph, strict=True)
    shared = [len({m.id for m in one} & {m.id for m in two}) / 20 for one, two in pairs]
    assert sum(shared) / len(shared) > 0.9
    store.close()


def test_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the error says how to install it."""
    monkeypatch.setitem(sys.modules, "torchloom_models.index.postgres", None)
    with pytest.raises(ModelLoadError, match=r"pip install 'torchloom\[postgres\]'"):
        open_store(Location(source="postgresql://localhost/db"))


def test_refuses_an_address_that_is_none() -> None:
    """A URL that cannot be read is refused when the model file is."""
    with pytest.raises(InvalidModel, match="no URL of a PostgreSQL server"):
        Location(source="postgresql://[half", name=str(Path("x")))
