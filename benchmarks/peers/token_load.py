"""A load of requests for text, and how a side bears it. Knows no engine.

A side is driven in its own process. It may run in an environment of its own: nothing but the
standard library is imported here.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


#: Says that a request has got a token, and whether it was the last.
Tell = Callable[[int, bool], None]


class Side(Protocol):
    """What answers requests for so many tokens, greedily."""

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        ...

    def step(self, tell: Tell) -> None:
        """Go on for a while with all that were taken, and tell each token as it is there."""
        ...


class Clock:
    """Notes when requests were made and when their tokens came; all in seconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._asked: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._first_s: list[float] = []
        self._between_s: list[float] = []

    @property
    def now_s(self) -> float:
        """Say how long the load goes on."""
        return time.perf_counter() - self._began

    def ask(self, number: int, at_s: float | None = None) -> None:
        """Note when a request was made: now, unless told otherwise."""
        self._asked[number] = self.now_s if at_s is None else at_s

    def tell(self, number: int) -> None:
        """Note that a token has come."""
        now_s = self.now_s
        if number in self._last:
            self._between_s.append(now_s - self._last[number])
        else:
            self._first_s.append(now_s - self._asked[number])
        self._last[number] = now_s

    def figures(self, num_tokens: int) -> dict[str, float]:
        """Give tokens a second, and times in ms: to the first token and between tokens."""
        return {
            "per_s": num_tokens / max(self._last.values()),
            **_percentiles("first", self._first_s),
            **_percentiles("between", self._between_s),
        }


def _percentiles(name: str, values_s: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values_s, n=100, method="inclusive")
    return {f"{name}_p50": cuts[49] * 1e3, f"{name}_p99": cuts[98] * 1e3}


def bear(side: Side, order: Mapping[str, object]) -> dict[str, float]:
    """Send {"prompts", "tokens", "clients" or "arrivals"} to a side; give its figures.

    With `clients` so many are in flight at once; `arrivals` are the seconds at which requests come,
    whatever becomes of the others.
    """
    prompts, tokens = order["prompts"], order["tokens"]
    arrivals, clients = order.get("arrivals"), order.get("clients")
    assert isinstance(prompts, list)
    assert isinstance(tokens, int)
    waiting, held, clock = deque(range(len(prompts))), set[int](), Clock()

    def is_due(number: int) -> bool:
        if isinstance(arrivals, list):
            return bool(arrivals[number] <= clock.now_s)
        return len(held) < int(str(clients))

    def tell(number: int, is_last: bool) -> None:  # noqa: FBT001 - called by place, once a token
        clock.tell(number)
        if is_last:
            held.discard(number)

    while waiting or held:
        while waiting and is_due(waiting[0]):
            number = waiting.popleft()
            clock.ask(number, arrivals[number] if isinstance(arrivals, list) else None)
            held.add(number)
            side.admit(number, prompts[number], tokens)
        if held:
            side.step(tell)
        else:
            time.sleep(0.0005)
    return clock.figures(len(prompts) * tokens)


def serve(side: Side) -> None:
    """Bear the loads that standard input orders, one a line."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(bear(side, json.loads(line))), flush=True)
