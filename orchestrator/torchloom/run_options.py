"""What a caller may say about a run, and what calls carry of it. Knows no graph."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import msgspec

from torchloom.time_limit import TimeLimits


#: What nothing limits. One for all: most calls have no limit of their own.
_NO_LIMIT: Final = nullcontext()


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a call carries from its run: deadline (clock seconds), priority, tenant, and so on.

    One that `is_copy` is for a shadow version: nobody waits for its answer.
    """

    deadline: float | None = None
    priority: int = 0
    tenant: str = ""
    waits_for_space: bool = False
    device: str = ""
    is_copy: bool = False


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may say about a run. A run without a timeout may take as long as it takes.

    Tasks of a run that `waits_for_space` queue up for a full queue instead of being refused. Where
    nobody reads the answer while it is written, `is_streamed` is false: no chunk crosses a process,
    and a task can be tried again up to its end, unless another node takes its items live. One that
    `is_copy` is for a shadow version: nobody waits for its answer.
    """

    timeout_s: float | None = None
    priority: int = 0
    tenant: str = ""
    waits_for_space: bool = False
    is_background: bool = False
    is_streamed: bool = True
    trace_parent: str | None = None
    is_copy: bool = False

    def to_call_options(self, began: float) -> CallOptions:
        """Give what calls carry of it; `began`: the clock when it was asked for, in seconds."""
        return CallOptions(
            deadline=None if self.timeout_s is None else began + self.timeout_s,
            priority=self.priority,
            tenant=self.tenant,
            waits_for_space=self.waits_for_space,
            is_copy=self.is_copy,
        )

    def time_limit(self, limits: TimeLimits) -> AbstractContextManager[object]:
        """Give what raises TimeoutError within when the time is over, if it is limited."""
        return _NO_LIMIT if self.timeout_s is None else limits.within(self.timeout_s)
