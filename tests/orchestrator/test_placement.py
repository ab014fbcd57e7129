"""Placement: where there is room, and who gives it up, over tables."""

from __future__ import annotations

import pytest

from torchloom.device import Device
from torchloom.errors import OutOfMemory
from torchloom.placement import (
    CoreShare,
    Demand,
    Holder,
    choose_evicted,
    place_of,
    share_cores,
    to_size,
    total_of,
)


def _holder(label: str, count: int, used_at: float = 0.0, state: str = "idle") -> Holder:
    return Holder(
        label=label,
        bytes=count,
        last_used_at=used_at,
        is_idle=state != "busy",
        is_needed=state == "needed",
    )


def _demand(count: int, *, budget: int = 10, takes_needed: bool = False) -> Demand:
    return Demand(label="new@1", place="cpu", bytes=count, budget=budget, takes_needed=takes_needed)


@pytest.mark.parametrize(
    ("device", "budgets", "place"),
    [
        ("cpu", (), "cpu"),
        ("openvino:CPU", (), "cpu"),
        ("openvino:GPU", (), "openvino:GPU"),
        ("cuda", (), "cuda:0"),
        ("cuda:1", (), "cuda:1"),
        ("auto", ("cpu",), "cpu"),
        ("auto", ("cpu", "cuda:0"), "cuda:0"),
    ],
)
def test_names_the_memory_of_a_device(device: str, budgets: tuple[str, ...], place: str) -> None:
    """OpenVINO on the processor shares the machine's memory; `auto` is a GPU where there is one."""
    assert place_of(device, budgets) == place


_THREE = [_holder("a@1", 3, 30.0), _holder("b@1", 3, 10.0), _holder("c@1", 3, 20.0)]


@pytest.mark.parametrize(
    ("demand", "holders", "evicted"),
    [
        (_demand(10), [], ()),
        (_demand(1), _THREE, ()),
        (_demand(0), _THREE, ()),
        (_demand(2), _THREE, ("b@1",)),
        (_demand(5), _THREE, ("b@1", "c@1")),
        (_demand(10), _THREE, ("b@1", "c@1", "a@1")),
        (_demand(4), [_holder("a@1", 1, 1.0), _holder("b@1", 9, 2.0)], ("b@1",)),
        (_demand(4), [_holder("a@1", 0, 1.0), _holder("b@1", 9, 2.0)], ("b@1",)),
        (_demand(4), [_holder("a@1", 5, 1.0, "busy"), _holder("b@1", 4, 2.0)], ("b@1",)),
        (_demand(4), [_holder("a@1", 5, 1.0, "needed"), _holder("b@1", 4, 2.0)], ("b@1",)),
        (
            _demand(4, takes_needed=True),
            [_holder("a@1", 5, 1.0, "needed"), _holder("b@1", 4, 2.0)],
            ("b@1",),
        ),
        (_demand(4, takes_needed=True), [_holder("a@1", 9, 1.0, "needed")], ("a@1",)),
    ],
)
def test_evicts_the_least_recently_used_and_no_more_than_it_must(
    demand: Demand, holders: list[Holder], evicted: tuple[str, ...]
) -> None:
    """Busy ones never; those that runs have yet to call last, and only for tasks that wait."""
    assert choose_evicted(demand, holders, can_evict=True) == evicted


@pytest.mark.parametrize(
    ("demand", "holders"),
    [
        (_demand(11), _THREE),
        (_demand(4), [_holder("a@1", 9, 1.0, "busy")]),
        (_demand(4), [_holder("a@1", 9, 1.0, "needed")]),
        (_demand(0), [_holder("new@1", 11)]),
    ],
)
def test_refuses_what_no_eviction_makes_room_for(demand: Demand, holders: list[Holder]) -> None:
    """Nothing is evicted in vain, nor the one who asks for its own sake."""
    with pytest.raises(OutOfMemory):
        choose_evicted(demand, holders, can_evict=True)


def test_refuses_with_figures() -> None:
    """What is needed, what is free of how much, who holds it, and how to mend it."""
    gib = 1 << 30
    holders = [_holder("llama@1", 8 * gib), _holder("minilm@1", gib // 2), _holder("tiny@1", 0)]
    with pytest.raises(OutOfMemory) as refusal:
        choose_evicted(_demand(4 * gib, budget=12 * gib), holders, can_evict=False)
    assert refusal.value.message == (
        "Model 'new@1' needs 4.0 GiB on cpu, where 3.5 GiB of the budget of 12.0 GiB is free. "
        "It is held by: llama@1 8.0 GiB, minilm@1 512.0 MiB. Remove one of these, let idle ones "
        "be evicted (setting `evict`), or raise the budget (setting `memory`)."
    )
    assert (refusal.value.status, refusal.value.type) == (507, "urn:torchloom:out-of-memory")
    with pytest.raises(OutOfMemory, match=r"3\.5 GiB of the budget.*Wait until one of these is"):
        choose_evicted(
            _demand(4 * gib, budget=12 * gib),
            [_holder("a@1", 17 * gib // 2, state="busy")],
            can_evict=True,
        )
    with pytest.raises(OutOfMemory, match=r"It is held by: nobody\."):
        choose_evicted(_demand(gib, budget=1), [], can_evict=True)
    with pytest.raises(
        OutOfMemory, match=r"'new@1' has taken 3\.0 GiB on cpu, where .* is exceeded by 1\.0 GiB"
    ):
        choose_evicted(_demand(0, budget=2 * gib), [_holder("new@1", 3 * gib)], can_evict=True)


def test_writes_sizes_for_people_and_adds_them_up() -> None:
    """Binary units; every place has a sum of its own."""
    assert [to_size(1 << 20), to_size(3 << 29)] == ["1.0 MiB", "1.5 GiB"]
    assert total_of([{"cpu": 1}, {"cpu": 2, "cuda:0": 4}, {}]) == {"cpu": 3, "cuda:0": 4}


@pytest.mark.parametrize(
    ("threads", "device", "reserved", "share"),
    [
        (None, "cpu", (), CoreShare(threads=4)),
        (None, "auto", (), CoreShare(threads=4)),
        (None, "cpu", (0, 2), CoreShare(threads=2, cores=(1, 3))),
        (None, "cuda:0", (), CoreShare(threads=1)),
        (None, "openvino:GPU", (0,), CoreShare(threads=1, cores=(1, 2, 3))),
        (None, "openvino:CPU", (0,), CoreShare(threads=3, cores=(1, 2, 3))),
        (3, "cpu", (), CoreShare(threads=3, cores=(0, 1, 2), is_reserved=True)),
        (2, "cuda:0", (0, 2), CoreShare(threads=2, cores=(1, 3), is_reserved=True)),
        (4, "cpu", (), CoreShare(threads=4, cores=(0, 1, 2, 3), is_reserved=True)),
    ],
)
def test_shares_cores_out(
    threads: int | None, device: str, reserved: tuple[int, ...], share: CoreShare
) -> None:
    """What is asked for is reserved; others share what is left; a GPU's worker runs one thread."""
    there = (0, 1, 2, 3)
    assert share_cores(threads, Device.parse(device), cores=there, reserved=reserved) == share


@pytest.mark.parametrize(
    ("threads", "reserved", "runs", "warning"),
    [
        (5, (), 5, "asks for 5 threads, and 4 of 4 cores are not reserved"),
        (3, (0, 1), 3, "asks for 3 threads, and 2 of 4 cores are not reserved"),
        (None, (0, 1, 2, 3), 1, "finds all 4 cores reserved"),
    ],
)
def test_warns_with_figures_where_cores_are_short(
    threads: int | None, reserved: tuple[int, ...], runs: int, warning: str
) -> None:
    """The threads that were asked for run, but on no cores of their own."""
    share = share_cores(threads, Device("cpu"), cores=(0, 1, 2, 3), reserved=reserved)
    assert (share.threads, share.cores, share.is_reserved) == (runs, (), False)
    assert share.warning.startswith(warning)
