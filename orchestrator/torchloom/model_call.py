"""A call of a model: a task is made, queued at its pool, and waited for. Knows no graph."""

from __future__ import annotations

import asyncio

from torchloom.cache import Sink
from torchloom.engine import Values
from torchloom.errors import NotServing
from torchloom.pool import Pool
from torchloom.run_options import CallOptions
from torchloom.task import Task


async def ask(
    pool: Pool, inputs: Values, params: Values, *, sink: Sink | None, options: CallOptions
) -> tuple[Task, dict[str, object]]:
    """Queue a task at a pool, and give it with its outputs; a caller that leaves cancels it.

    Raises what the model raises, QueueFull and NotServing: a copy, for one, waits for no place, and
    loads no model.
    """
    deployment = pool.deployment
    task = Task(
        inputs,
        {**deployment.params, **params} if deployment.params else params,
        deadline=options.deadline,
        priority=options.priority,
        tenant=options.tenant,
        device=options.device,
        on_chunk=sink,
    )
    if options.is_copy and not (pool.can_serve and pool.replicas):
        message = f"Model {deployment.label!r} is not loaded."
        raise NotServing(message, retry_after_s=1.0)
    may_wait = options.waits_for_space or deployment.queue.overflow == "wait"
    if may_wait and not options.is_copy:
        await pool.submit_when_free(task)
    else:
        pool.submit(task)
    try:
        return task, dict(await task.outputs())
    except asyncio.CancelledError:
        pool.cancel(task)
        raise
