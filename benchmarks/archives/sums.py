"""A handler of sequences: adds up the numbers of each, and ends one that has reached a hundred."""

from __future__ import annotations

from typing import Any


class Sums:
    """Keeps a sum for each sequence."""

    def initialize(self, _: Any) -> None:
        """Begin with none."""
        self.sums: dict[str, int] = {}

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """Add, and tell what the handler is told of the sequence."""
        answers = []
        for index, row in enumerate(data):
            own = context.get_sequence_id(index)
            text = bytes(row.get("number") or row.get("body") or b"0").decode()
            if text == "fail":
                raise ValueError(text)
            self.sums[own] = self.sums.get(own, 0) + int(text)
            context.set_response_header(index, context.header_key_sequence_id, own)
            told = {
                name: value
                for name, value in context.get_all_request_header(index).items()
                if "sequence" in name
            }
            answers.append(f"{own}: {self.sums[own]} {sorted(told.items())}")
            if self.sums[own] >= 100:
                context.set_response_header(index, context.header_key_sequence_end, own)
                del self.sums[own]
        return answers
