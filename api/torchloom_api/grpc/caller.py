"""Caller: who calls, and what the metadata of the call say of it. Knows no service.

Keys, deadlines, priorities and ids are those of HTTP, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import grpc

from torchloom.run_options import RunOptions
from torchloom_api.call import read_priority, read_timeout
from torchloom_api.exchange import to_request_id
from torchloom_api.settings import Settings
from torchloom_api.tracing import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One call. `left_s`: the seconds until the client gives it up."""

    id: str
    headers: Mapping[bytes, bytes]
    trace: Trace
    left_s: float | None

    @classmethod
    def of(cls, context: grpc.aio.ServicerContext) -> Self:
        """Read the metadata of a call."""
        headers = {
            key.encode(): value if isinstance(value, bytes) else value.encode()
            for key, value in context.invocation_metadata() or ()
        }
        return cls(
            id=to_request_id(headers.get(b"x-request-id")),
            headers=headers,
            trace=Trace.from_header(headers.get(b"traceparent")),
            left_s=context.time_remaining(),
        )

    def to_options(self, settings: Settings) -> RunOptions:
        """Give the options of what is run for it. Raises BadRequest."""
        timeout_s = read_timeout(self.headers, settings.max_run_s)
        if self.left_s is not None:
            left_s = max(self.left_s, 0.0)
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        return RunOptions(
            timeout_s=timeout_s,
            priority=read_priority(self.headers),
            is_streamed=False,
            trace_parent=str(self.trace),
        )
