"""Side by side: several pieces of work at once, for one request. Knows no model."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from torchloom_api.registrar import first_error


T = TypeVar("T")


async def all_of(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Give every result, in order. One that fails cancels the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    return [task.result() for task in tasks]
