"""Placement: pure decisions on where there is room: memory, and who gives it up; cores.

Knows no process, no clock and no framework: it is given a picture, and says what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torchloom.device import Device
from torchloom.errors import OutOfMemory


#: The place of everything that lives in the memory of the machine itself.
HOST = "cpu"

#: Devices that are worked out in the machine's memory, by the names that users write.
_ON_HOST = frozenset({"cpu", "openvino:CPU"})

_GIB = 1024**3
_MIB = 1024**2


def place_of(device: str, budgets: Collection[str]) -> str:
    """Give the memory that a device works in: `cpu`, `cuda:0`, `openvino:GPU`.

    `auto` is CUDA where there is any, as for the worker that will decide.
    """
    if device in _ON_HOST:
        return HOST
    if device == "auto":
        return "cuda:0" if "cuda:0" in budgets else HOST
    return "cuda:0" if device == "cuda" else device


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What one model version holds of one memory, and whether it could do without.

    `is_needed`: a run in progress has yet to call it.
    """

    label: str
    bytes: int
    last_used_at: float = 0.0
    is_idle: bool = False
    is_needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a model version wants to add to what it holds of a place with a budget.

    One that `takes_needed` stands for tasks that wait: rather than let them wait for themselves, it
    takes the memory of idle models that runs in progress have yet to call. One that does not
    `evicts` anybody takes what is free.
    """

    label: str
    place: str
    bytes: int
    budget: int
    takes_needed: bool = False
    evicts: bool = True


def choose_evicted(
    demand: Demand, holders: Sequence[Holder], *, can_evict: bool
) -> tuple[str, ...]:
    """Name the models to evict, the least recently used first; none where the demand fits.

    Those that runs have yet to call come last, if they come at all; none is named without need.
    Raises OutOfMemory, with figures, where no choice makes enough room.
    """
    missing = sum(holder.bytes for holder in holders) + demand.bytes - demand.budget
    if missing <= 0:
        return ()
    spare = [
        holder
        for holder in holders
        if holder.is_idle
        and holder.bytes
        and holder.label != demand.label
        and (demand.takes_needed or not holder.is_needed)
    ]
    spare.sort(key=lambda holder: (holder.is_needed, holder.last_used_at))
    may_evict = can_evict and demand.evicts
    if not may_evict or sum(holder.bytes for holder in spare) < missing:
        raise OutOfMemory(_explain(demand, holders, can_evict=can_evict))
    return _fewest(spare, missing)


def _fewest(spare: Sequence[Holder], missing: int) -> tuple[str, ...]:
    """Take from the front until it is enough; then leave out what the later ones made needless."""
    chosen: list[Holder] = []
    for holder in spare:
        if missing <= 0:
            break
        chosen.append(holder)
        missing -= holder.bytes
    for holder in list(chosen):
        if missing + holder.bytes <= 0:
            chosen.remove(holder)
            missing += holder.bytes
    return tuple(holder.label for holder in chosen)


def _explain(demand: Demand, holders: Sequence[Holder], *, can_evict: bool) -> str:
    held = sorted((h for h in holders if h.bytes), key=lambda h: (-h.bytes, h.label))
    free = demand.budget - sum(holder.bytes for holder in held)
    who = ", ".join(f"{holder.label} {to_size(holder.bytes)}" for holder in held) or "nobody"
    own = sum(holder.bytes for holder in held if holder.label == demand.label)
    needs = f"needs {to_size(demand.bytes)}" if demand.bytes else f"has taken {to_size(own)}"
    room = (
        f"{to_size(free)} of the budget of {to_size(demand.budget)} is free"
        if free >= 0
        else f"the budget of {to_size(demand.budget)} is exceeded by {to_size(-free)}"
    )
    mend = (
        "Wait until one of these is idle, remove one"
        if can_evict
        else "Remove one of these, let idle ones be evicted (setting `evict`)"
    )
    return (
        f"Model {demand.label!r} {needs} on {demand.place}, where {room}. It is held by: {who}. "
        f"{mend}, or raise the budget (setting `memory`)."
    )


def to_size(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"


def total_of(holdings: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Add up what is held of each place."""
    total: dict[str, int] = {}
    for holding in holdings:
        for place, count in holding.items():
            total[place] = total.get(place, 0) + count
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreShare:
    """How many threads a worker runs, and on which cores (none: on any).

    `warning` is the end of a sentence about the model, where it did not get what it should.
    """

    threads: int
    cores: tuple[int, ...] = ()
    is_reserved: bool = False
    warning: str = ""


def share_cores(
    threads: int | None, device: Device, *, cores: Sequence[int], reserved: Collection[int]
) -> CoreShare:
    """Share the machine's cores out: `threads` reserves as many, and the rest is for the others.

    Reservations never overlap. A worker that asks for nothing runs as many threads as there are
    cores left, on those; one that works on a GPU runs one thread there. Whoever asks for more than
    is left gets the threads, but no cores of its own.
    """
    left = tuple(core for core in cores if core not in reserved)
    if threads is not None:
        if threads <= len(left):
            return CoreShare(threads=threads, cores=left[:threads], is_reserved=True)
        warning = (
            f"asks for {threads} threads, and {len(left)} of {len(cores)} cores are not reserved: "
            "it is not pinned, and shares cores with others. Lower `threads` somewhere."
        )
        return CoreShare(threads=threads, warning=warning)
    if not left:
        warning = (
            f"finds all {len(cores)} cores reserved: it runs one thread, which shares cores with "
            "others. Lower `threads` somewhere."
        )
        return CoreShare(threads=1, warning=warning)
    is_elsewhere = device.kind != "auto" and str(device) not in _ON_HOST
    return CoreShare(
        threads=1 if is_elsewhere else len(left), cores=left if len(left) < len(cores) else ()
    )
