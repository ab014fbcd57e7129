"""Measurement: values of metrics on their way to a log, whose lines are formed where it is written.

A prediction has several, and a workflow's run some for each of its nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from torchloom_api.torchserve.telemetry.java_number import write_number
from torchloom_api.torchserve.telemetry.log_layout import LogEvent


#: What stands before a value on its line, and what stands after it.
Texts = tuple[str, str]

#: Values that came together: the texts of each, and as many values.
Measured = tuple[Sequence[Texts], Sequence[float]]


class Measurement(msgspec.Struct, frozen=True, array_like=True, tag="values"):
    """Values of one moment, `at` in seconds since 1970. Each has a line of its own."""

    logger: str
    at: float
    values: Sequence[Measured]

    def messages(self) -> list[str]:
        """Write the values as TorchServe's logs have them."""
        stamp = f"timestamp:{int(self.at)}"
        return [
            f"{head}{write_number(value)}{tail}{stamp}"
            for texts, values in self.values
            for (head, tail), value in zip(texts, values, strict=True)
        ]

    def to_event(self) -> LogEvent:
        """Give what is the same for all messages."""
        return LogEvent(self.logger, "INFO", "main", self.at, "")
