"""GrpcCall: what is known of a call over gRPC besides its messages. Knows no method."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

import grpc

from torchloom_api.torchserve.request_id import new_uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcCall:
    """One call. `path` is `SERVICE/METHOD`; `started` is in the clock of time.perf_counter."""

    id: str
    path: str
    client: str
    metadata: Mapping[str, str]
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, context: grpc.aio.ServicerContext, path: str) -> Self:
        """Read who calls, and the metadata; of several of a name, the last counts."""
        return cls(
            id=new_uuid(),
            path=path,
            client=to_place(context.peer()),
            metadata={
                key: value
                for key, value in context.invocation_metadata() or ()
                if isinstance(value, str)
            },
        )


def to_place(peer: str) -> str:
    """Write where a client is as HTTP has it: `ADDRESS:PORT`."""
    _, _, place = unquote(peer).partition(":")
    return place
