"""What a worker's process finds in its environment."""

from __future__ import annotations

import re

import pytest

from torchloom.placement import CoreShare
from torchloom.worker_environment import worker_environment


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def test_sets_the_number_of_threads_before_anything_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as its share says, and on its cores; what else we set can be overridden."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    environment = worker_environment(None, CoreShare(threads=3, cores=(1, 2, 5)))
    assert [environment[name] for name in THREADS] == ["3", "3"]
    assert environment["TORCHLOOM_CORES"] == "1,2,5"
    assert environment["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "TORCHLOOM_CORES" not in worker_environment(None, CoreShare(threads=3))


@pytest.mark.parametrize(
    ("said", "threads", "expected"),
    [
        ({"OMP_NUM_THREADS": "7"}, None, ["7", "7"]),
        ({"OMP_NUM_THREADS": " 7 ", "MKL_NUM_THREADS": "5"}, None, ["7", "5"]),
        ({"MKL_NUM_THREADS": "5"}, None, ["3", "5"]),
        ({"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "5"}, 3, ["3", "3"]),
        ({"OMP_NUM_THREADS": "4,2"}, None, ["3", "3"]),
        ({"OMP_NUM_THREADS": "0", "MKL_NUM_THREADS": ""}, None, ["3", "3"]),
        ({"OMP_NUM_THREADS": "-1", "MKL_NUM_THREADS": "many"}, None, ["3", "3"]),
    ],
)
def test_keeps_to_the_number_of_threads_that_the_server_was_told(
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, str],
    threads: int | None,
    expected: list[str],
) -> None:
    """Unless the model's own file says one; what is no number says nothing."""
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    environment = worker_environment(threads, CoreShare(threads=3))

    assert [environment[name] for name in THREADS] == expected


def test_takes_a_hidden_number_of_threads_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no worker is to see counts for none."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment = worker_environment(None, CoreShare(threads=3), re.compile("OMP_.*"))

    assert environment["OMP_NUM_THREADS"] == "3"


def test_hides_variables_from_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose whole names it matches, and no defaults of ours."""
    for name in ("MY_SECRET", "SECRET_CODE", "TOKEN"):
        monkeypatch.setenv(name, "told")
    environment = worker_environment(None, CoreShare(threads=1), re.compile(".*SECRET|TOKEN.*"))

    assert {"MY_SECRET", "TOKEN"}.isdisjoint(environment)
    assert environment["SECRET_CODE"] == "told"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"
