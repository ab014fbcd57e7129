"""Ending: how a process has ended, and what its model's callers are told."""

from __future__ import annotations

import signal

import pytest

from torchloom.ending import name_exit, to_death, to_load_error


def test_names_an_exit() -> None:
    """By its code, or by the signal that ended it."""
    assert [name_exit(code) for code in (0, 3, -signal.SIGSEGV, -63)] == [
        "exit code 0",
        "exit code 3",
        "signal SIGSEGV",
        "signal 63",
    ]


@pytest.mark.parametrize("code", [-signal.SIGKILL, 137])
def test_takes_a_worker_that_was_killed_for_one_that_had_no_memory(code: int) -> None:
    """The kernel kills so, and a launcher passes it on as 137: 507, at the load and after it."""
    how = name_exit(code)

    assert to_load_error("echo@1", how).status == 507
    assert to_death("echo@1", how, has_begun=False).status == 507
    assert to_death("echo@1", how, has_begun=True).status == 503, "it had worked until then"


@pytest.mark.parametrize("code", [0, 1, 139, -signal.SIGSEGV, -signal.SIGTERM])
def test_takes_no_other_end_for_it(code: int) -> None:
    """What has crashed, or ended itself, says nothing of memory."""
    how = name_exit(code)
    load, death = to_load_error("echo@1", how), to_death("echo@1", how, has_begun=False)

    assert (load.status, load.message) == (500, f"The worker of model 'echo@1' ended: {how}.")
    assert (death.status, death.message) == (
        503,
        f"The worker of 'echo@1' ended ({how}) again and again.",
    )
