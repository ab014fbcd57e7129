"""A handler for continuous batching: counts up to a number, one answer a call."""

from __future__ import annotations

from typing import Any


class Counting:
    """Keeps of each request how far it is, until it is done."""

    def initialize(self, _: Any) -> None:
        """Begin with none."""
        self.counts: dict[str, list[int]] = {}

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """Go on by one, and say whether more is to come."""
        answers = []
        for index, row in enumerate(data):
            own = context.get_request_id(index)
            is_again = context.get_request_header(index, "cached") == "true"
            if not is_again:
                self.counts[own] = [0, int(bytes(row["body"]))]
            count = self.counts[own]
            count[0] += 1
            is_done = count[0] >= count[1]
            context.set_response_header(index, "ts_stream_next", "false" if is_done else "true")
            answers.append(f"{count[0]} {sorted(row)} {is_again}\n")
            if is_done:
                del self.counts[own]
        return answers
