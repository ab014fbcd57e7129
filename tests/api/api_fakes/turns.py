"""Waiting without a clock: the event loop turns until something is so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest


async def turns(is_done: Callable[[], object], limit: int = 1_000_000) -> None:
    """Let the event loop turn until something is so; an error after too many turns."""
    for _ in range(limit):
        if is_done():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came to be")
