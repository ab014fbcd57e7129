"""Parts of a page, by name."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.telemetry.page import pick_families


PAGE = b"""\
# HELP torchloom_tasks_total Tasks.
# TYPE torchloom_tasks_total counter
torchloom_tasks_total{model="a"} 1.0
# HELP torchloom_run_seconds Runs.
# TYPE torchloom_run_seconds histogram
torchloom_run_seconds_bucket{le="+Inf"} 1.0
torchloom_run_seconds_sum 2.0
"""
TASKS, RUNS = PAGE[: PAGE.index(b"# HELP torchloom_run")], PAGE[PAGE.index(b"# HELP torchloom_r") :]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), PAGE),
        (["torchloom_tasks"], TASKS),
        (["torchloom_tasks_total", "QueueTime"], TASKS),
        (["torchloom_run_seconds_sum"], RUNS),
        (["QueueTime"], b""),
    ],
)
def test_picks_families_by_the_names_of_their_samples(names: list[str], text: bytes) -> None:
    """Whole families."""
    assert pick_families(PAGE, names) == text
