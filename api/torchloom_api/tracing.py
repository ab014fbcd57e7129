"""Trace: a request's place in a distributed trace (W3C Trace Context). Knows no exporter."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Self


_TRACEPARENT = re.compile(
    rb"^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:$|-)"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """One span of ours: the trace that it belongs to, its own id, and the caller's flags."""

    trace_id: str
    span_id: str
    flags: str

    @classmethod
    def from_header(cls, traceparent: bytes | None) -> Self:
        """Go on with the caller's trace, or begin one where the header is absent or malformed."""
        match = _TRACEPARENT.match(traceparent) if traceparent else None
        if match is None:
            fresh = os.urandom(24).hex()
            return cls(fresh[:32], fresh[32:], "00")
        return cls(match[1].decode(), os.urandom(8).hex(), match[2].decode())

    def __str__(self) -> str:
        """Write it as a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"
