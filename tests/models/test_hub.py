"""Models from the hub, or from what was fetched before."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.hub import _reporting_bar, download


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a hub cache, as huggingface_hub lays it out, with one model, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--org--name"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_takes_a_model_from_the_cache(cache: Path, revision: str) -> None:
    """A revision that was fetched before needs no network."""
    assert download("org/name", revision, silent) == cache


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("repository", "revision"), [("org/other", "main"), ("org/name", "v2")])
def test_says_what_could_not_be_fetched(repository: str, revision: str) -> None:
    """The message has the model, the revision and what to look at."""
    with pytest.raises(ModelLoadError, match=rf"'{repository}' at '{revision}' could .*HF_TOKEN"):
        download(repository, revision, silent)


def test_reports_the_bytes_that_came() -> None:
    """Bars that count bytes report a fraction; others, and those without a total, nothing."""
    reports: list[tuple[str, float | None]] = []
    make = _reporting_bar(lambda what, fraction: reports.append((what, fraction)), "downloading m")

    with make(total=10, unit="B", name="transfer") as bar:
        bar.update(5)
        bar.update(7)
    with make(total=3, unit="it") as files:
        files.update(1)
    with make(total=0, unit="B") as unknown:
        unknown.update(1)

    assert reports == [("downloading m", 0.5), ("downloading m", 1.0)]
