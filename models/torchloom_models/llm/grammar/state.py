"""GrammarState: where one answer stands in its grammar. Knows no sampling and no text."""

from __future__ import annotations

import os
from collections.abc import Sequence as Group
from functools import cache
from typing import Final

import torch
from llguidance import LLExecutor, LLMatcher


#: The most threads that look for the tokens of a batch.
_MAX_THREADS: Final = 8


class GrammarState:
    """What may follow on the tokens so far.

    `error` says why nothing may, where that is not because the grammar has ended.
    """

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self.error = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing but the end may follow: the text is whole."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def accept(self, token: int) -> None:
        """Take the token that was drawn, one of those that may follow."""
        if not self._matcher.consume_token(token):
            self.error = reason(self._matcher)

    def note(self, *, is_stuck: bool) -> None:
        """Note how a look for tokens has ended."""
        if self._matcher.is_error():
            self.error = reason(self._matcher)
        elif is_stuck:
            self.error = "no token of this model goes on with it"


def fill(states: Group[GrammarState], masks: torch.Tensor) -> None:
    """Write what may follow to masks [states, words], a bit a token; nothing after an error.

    `masks` is int32, contiguous and on the CPU; rows are looked up side by side.
    """
    matchers = [state._matcher for state in states]  # noqa: SLF001 - of the same noun
    size = masks.shape[1] * masks.element_size()
    if len(matchers) == 1:
        matchers[0].unsafe_compute_mask_ptr(masks.data_ptr(), size)
    else:
        rows = [(matcher, row) for row, matcher in enumerate(matchers)]
        _executor().unsafe_compute_mask_ptr(rows, masks.data_ptr(), size, len(rows))
    for row, has_any in enumerate(masks.any(dim=1).tolist()):
        states[row].note(is_stuck=not has_any)
        if states[row].error:
            masks[row] = 0


def reason(matcher: LLMatcher) -> str:
    """Say what is wrong, without the library's own state."""
    return " ".join(matcher.get_error().partition("\n<")[0].split())[:300]


@cache
def _executor() -> LLExecutor:
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return LLExecutor(num_threads=min(num_cores, _MAX_THREADS))
