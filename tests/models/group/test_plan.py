"""What a model file says of the processes of a worker."""

from __future__ import annotations

import msgspec
import pytest

from torchloom_models.group.plan import GroupPlan, program_of


def plan_of(**said: object) -> GroupPlan:
    """Read a plan."""
    plan = GroupPlan.read({"parallel": {"type": "tp", "level": 2, **said}})
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("kind", "is_group", "shares_tasks"),
    [("tp", True, True), ("pptp", True, True), ("pp", True, False), ("custom", False, False)],
)
def test_tells_what_a_sort_means(kind: str, *, is_group: bool, shares_tasks: bool) -> None:
    """Of pipelines the first process alone has tasks; `custom` is one process."""
    plan = plan_of(type=kind)

    assert (plan.is_group, plan.shares_tasks) == (is_group, shares_tasks)


FIXED = {"--max-restarts=0", "--nproc-per-node=2"}
ALONE = {*FIXED, "--rdzv-id=me"}
FREE_PORT = {"--rdzv-endpoint=localhost:0", "--local-addr=127.0.0.1"}


@pytest.mark.parametrize(
    ("torchrun", "options"),
    [
        ({}, {*ALONE, *FREE_PORT, "--rdzv-backend=c10d"}),
        (
            {"rdzv-endpoint": "", "nnodes": 1, "monitor-interval": 5},
            {
                *(*ALONE, *FREE_PORT, "--rdzv-backend=c10d"),
                *("--nnodes=1", "--monitor-interval=5"),
            },
        ),
        (
            {"rdzv-endpoint": "localhost:29400", "rdzv-id": "mine"},
            {
                *(*FIXED, "--rdzv-id=mine", "--rdzv-backend=c10d"),
                "--rdzv-endpoint=localhost:29400",
            },
        ),
        ({"rdzv-backend": "static"}, {*ALONE, "--rdzv-backend=static"}),
        (
            {"master-addr": "127.0.0.1", "master-port": 29501},
            {
                *(*ALONE, "--rdzv-backend=static"),
                *("--master-addr=127.0.0.1", "--master-port=29501"),
            },
        ),
        (
            {"rdzv-endpoint": "node1:29400", "nnodes": 2, "rdzv-conf": "", "node-rank": 1},
            {
                *(*FIXED, "--rdzv-backend=c10d", "--rdzv-endpoint=node1:29400"),
                *("--nnodes=2", "--node-rank=1"),
            },
        ),
    ],
)
def test_starts_as_torchrun_is_told(torchrun: dict[str, object], options: set[str]) -> None:
    """On one machine no port must be free, and workers do not meet; whatever is said counts."""
    assert {*plan_of(torchrun=torchrun).to_options("me")} == options


def test_shares_cores_and_gpus() -> None:
    """A worker's threads are its processes'; its GPUs follow the one that its device names."""
    plan = plan_of(gpus=[3, 1, 0, 2])

    assert [plan.threads_of(share) for share in (1, 4, 5)] == [1, 2, 2]
    assert plan_of(torchrun={"OMP_NUMBER_THREADS": 3}).threads_of(8) == 3
    assert (plan.gpus_of(3), plan.gpus_of(0)) == ((3, 1), (0, 2))
    assert plan_of().gpus_of(4) == (4, 5)


def test_names_the_program_of_workers() -> None:
    """The usual one where a worker is a plain one."""
    group, solo = ({"parallel": {"type": t, "level": 2, "gpus": [0, 1]}} for t in ("tp", "custom"))
    module, text = program_of(group)

    assert module == "torchloom_models.group.launch"
    assert msgspec.json.decode(text, type=GroupPlan) == plan_of(gpus=[0, 1])
    assert program_of(solo)[0] == "torchloom_models.group.rank"
    assert program_of({}) == ()
