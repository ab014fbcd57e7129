"""A handler for continuous batching: counts up to a number, one answer a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Counting:
    """Keeps of each request how far it is, until it is done."""

    def initialize(self, _: Any) -> None:
        """Begin with none."""
        self.counts: dict[str, list[int]] = {}

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """Go on by one, and bring what tells whether more is to come."""
        answers = []
        keys = list(context.request_ids.values())
        for key, row in zip(keys, data, strict=True):
            count = self.counts.setdefault(key, [0, int(bytes(row.get("body", b"0")))])
            count[0] += 1
            answers.append(f"{count[0]} {sorted(row)}\n")
        context.stopping_criteria = [self._criterion(key) for key in keys]
        return answers

    def _criterion(self, key: str) -> Callable[[str], bool]:
        def is_last(_: str) -> bool:
            count, most = self.counts[key]
            if count >= most:
                del self.counts[key]
            return count >= most

        return is_last
