"""A PostgreSQL server is reached by its URL and a secret; what goes wrong there reads well."""

from __future__ import annotations

import psycopg
import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.index.server import Server
from torchloom_models.index.store import Location, open_store


pytestmark = pytest.mark.slow


@pytest.fixture
def location(postgres_url: str, postgres_password: str) -> Location:
    """Give the place of an index that is not there."""
    assert postgres_password
    return Location(source=postgres_url, password_env="POSTGRES_WORD", name="handbook")


def test_takes_the_password_from_the_environment(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variable, and with a wrong password, the error says what; it shows no secret."""
    monkeypatch.setenv("POSTGRES_WORD", "a wrong secret")
    with pytest.raises(ModelLoadError, match="password authentication failed") as caught:
        open_store(location).facts()
    assert "a wrong secret" not in repr(caught.value)
    monkeypatch.delenv("POSTGRES_WORD")
    with pytest.raises(ModelLoadError, match=r"POSTGRES_WORD.* is not set"):
        open_store(location).facts()


def test_says_when_there_is_no_server() -> None:
    """A refused connection is a ModelLoadError that names server and index, not the user."""
    location = Location(source="postgresql://someone@127.0.0.1:1/db", name="handbook")
    with pytest.raises(ModelLoadError, match=r"handbook.*postgresql://127.0.0.1/db") as caught:
        open_store(location).facts()
    assert "someone" not in str(caught.value)


def test_survives_the_loss_of_its_connections(location: Location) -> None:
    """When the server cuts all connections, the next use makes new ones."""
    server = Server(location)
    with server.connection() as connection:
        first = connection.info.backend_pid
    with psycopg.connect(location.source, password=location.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [first])
    with server.connection() as connection:
        assert connection.info.backend_pid != first
    server.close()


def test_works_again_after_it_was_closed(location: Location) -> None:
    """Closing gives the connections back; they are made anew on demand."""
    server = Server(location)
    for _ in range(2):
        with server.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server.close()


def test_filters_along_the_graph_until_it_has_enough(location: Location) -> None:
    """Every connection asks pgvector for iterative scans: filters lose no results."""
    server = Server(location)
    with server.connection() as connection:
        scan = connection.execute("SHOW hnsw.iterative_scan").fetchone()
    assert scan == ("strict_order",)
    server.close()
