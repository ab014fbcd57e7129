"""The list of what does not serve."""

from __future__ import annotations

from torchloom.deployment import Deployment
from torchloom.errors import ModelLoadError
from torchloom_api.failed import Failed, FailedList


def failed(name: str, version: int = 1, *, is_kept: bool = False) -> Failed:
    """Make a failure."""
    error = ModelLoadError(f"{name} is broken")
    return Failed(kind="models", name=name, version=version, error=error, is_kept=is_kept)


def test_finds_the_latest_failure_of_a_name() -> None:
    """Without a version, the last one that failed is told."""
    failures = FailedList()
    failures.add(failed("a", 2))
    failures.add(failed("a", 1))

    assert failures.find("models", "a", None).version == 1
    assert failures.find("models", "a", 2).version == 2
    assert failures.find("models", "a", 3) is None
    assert failures.find("workflows", "a", 1) is None


def test_forgets_the_oldest_of_many() -> None:
    """Failed requests cannot fill the memory; what the store holds is never forgotten."""
    failures = FailedList()
    failures.add(failed("kept", is_kept=True))
    for number in range(300):
        failures.add(failed(f"m{number}"))

    assert len(list(failures)) == 101
    assert failures.find("models", "kept", 1) is not None
    assert failures.find("models", "m0", 1) is None


def test_does_not_take_a_kept_failure_for_a_passing_one() -> None:
    """A failed request does not hide that the store holds the version."""
    failures = FailedList()
    failures.add(failed("a", is_kept=True))
    failures.add(failed("a"))

    assert failures.find("models", "a", 1).is_kept


def test_knows_what_failed() -> None:
    """A failure takes name and version from what was to be registered."""
    deployment = Deployment(name="m", version=3, kind="test", factory="x:y")
    each = Failed.of(deployment, ModelLoadError("no"))

    assert (each.kind, each.name, each.version) == ("models", "m", 3)
