"""The faults that are played on TorchServe and TorchLoom, and what is told of each, line by line.

A handler that is held up waits for a file, not for a time. Scenes wait for states that both servers
show; where one of them shows none they sleep, and say why.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from benchmarks.torchserve_stage import Stage


_ONE: Final = {"minWorkers": 1, "maxWorkers": 1}


def dies_loading(stage: Stage) -> Iterator[str]:
    """Play a worker that dies as it loads."""
    yield from _fails_to_load(stage, "exits", "exit:3")


def raises_loading(stage: Stage) -> Iterator[str]:
    """Play a handler that raises as it loads."""
    yield from _fails_to_load(stage, "raises", "raise:no luck")


def lacks_memory(stage: Stage) -> Iterator[str]:
    """Play a handler for which there is no memory."""
    yield from _fails_to_load(stage, "memory", "memory:")


def is_killed_loading(stage: Stage) -> Iterator[str]:
    """Play a worker that is killed as it loads, as by the kernel when memory is at its end."""
    yield from _fails_to_load(stage, "killed", "exit:137")


def is_late(stage: Stage) -> Iterator[str]:
    """Play a worker that does not load within startup_timeout."""
    yield from _fails_to_load(stage, "slow", "hold:never", "initial_workers=1&startup_timeout=3")


def _fails_to_load(
    stage: Stage, name: str, deed: str, words: str = "initial_workers=1"
) -> Iterator[str]:
    stage.write(name, deed)
    yield f"registered: {stage.register(name, words)}"
    yield f"is tried again: {stage.wait_for_loads(name, 2, 4)}"
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    stage.set_load(name, "")
    yield f"registered again: {stage.register(name)}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def fails_behind(stage: Stage) -> Iterator[str]:
    """Play a registration that nobody waits for, whose worker dies as it loads."""
    name = "behind"
    stage.write(name, "exit:3")
    yield f"registered: {stage.register(name, 'initial_workers=1&synchronous=false')}"
    yield f"is tried again: {stage.wait_for_loads(name, 2, 5)}"
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    yield f"removed: {stage.remove(name)}"


def is_removed_loading(stage: Stage) -> Iterator[str]:
    """Play a model that is removed while it loads."""
    name = "early"
    stage.write(name, "hold:go")
    yield f"registered: {stage.register(name, 'initial_workers=1&synchronous=false')}"
    stage.wait_for_loads(name, 1)
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    yield f"KServe: {stage.manage('GET', f'/v1/models/{name}')}"
    yield f"registered twice: {stage.register(name)}"
    yield f"removed: {stage.remove(name)}"
    yield f"described: {stage.workers(name)}"
    stage.release(name, "go")
    yield f"registered again: {stage.register(name)}"
    yield f"removed: {stage.remove(name)}"


def is_scaled_in_vain(stage: Stage) -> Iterator[str]:
    """Play a model that serves is given a worker that does not load."""
    name = "half"
    stage.write(name)
    yield f"registered: {stage.register(name)}"
    for deed in ("exit:3", "exit:137"):
        stage.set_load(name, deed)
        yield f"scaled: {stage.manage('PUT', f'/models/{name}?min_worker=2&synchronous=true')}"
        yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def is_killed_idle(stage: Stage) -> Iterator[str]:
    """Play a worker that is killed while it has nothing to do."""
    name = "idle"
    stage.write(name)
    stage.register(name)
    for count in (2, 3):
        stage.set_load(name, f"hold:{count}")
        stage.kill_worker(name)
        yield f"is started again: {stage.wait_for_loads(name, count)}"
        yield f"described: {stage.workers(name)}"
        yield f"ping: {stage.ping()}"
        yield f"KServe: {stage.manage('GET', f'/v1/models/{name}')}"
        yield f"scaled: {stage.manage('PUT', f'/models/{name}?min_worker=1&synchronous=true')}"
        asked = stage.ask_later(name)
        stage.release(name, str(count))
        yield f"asked meanwhile: {stage.result(asked)}"
        stage.wait_until_up(name)
    yield f"loads: {len(stage.notes(name, 'loads'))}"
    yield f"id: {stage.describe(name)['workers'][0]['id'].isdecimal()}"
    yield f"removed: {stage.remove(name)}"


def dies_serving(stage: Stage) -> Iterator[str]:
    """Play a worker that ends itself at a request."""
    name = "dies"
    stage.write(name)
    stage.register(name)
    for deed in ("exit:1", "exit:137", "memory:", "raise:no luck"):
        yield f"asked {deed}: {stage.ask(name, deed)}"
        yield f"asked next: {stage.ask(name)}"
        yield f"ping: {stage.ping()}"
    yield f"loads: {len(stage.notes(name, 'loads'))}"
    yield f"removed: {stage.remove(name)}"


def fails_to_come_back(stage: Stage) -> Iterator[str]:
    """Play a worker dies, and those that follow die as they load: backoff."""
    name = "again"
    stage.write(name)
    stage.register(name)
    stage.set_load(name, "exit:3")
    began = time.monotonic()
    stage.kill_worker(name)
    times = [began]
    for count in (2, 3, 4, 5):
        stage.wait_for_loads(name, count)
        times.append(time.monotonic())
    first, *_, last = [after - before for before, after in pairwise(times)]
    yield f"waits grow: {last > 1.5 * first}"
    yield f"five starts within 20 s: {times[-1] - began < 20}"
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    asked = stage.ask_later(name)
    stage.set_load(name, "")
    stage.wait_until_up(name)
    yield f"asked meanwhile: {stage.result(asked)}"
    yield f"ping: {stage.ping()}"
    yield f"removed: {stage.remove(name)}"


def is_late_again(stage: Stage) -> Iterator[str]:
    """Play a worker that is started again, and hangs in its load: startup_timeout."""
    name = "relate"
    stage.write(name)
    stage.register(name, "initial_workers=1&startup_timeout=3")
    stage.set_load(name, "hold:never")
    stage.kill_worker(name)
    yield f"is given up and started anew: {stage.wait_for_loads(name, 4)}"
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    stage.set_load(name, "")
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def gives_up(stage: Stage) -> Iterator[str]:
    """Play the window of maxRetryTimeoutInSec: within it, behind it, and when all is well again."""
    name = "window"
    stage.write(name, config={**_ONE, "maxRetryTimeoutInSec": 4, "jobQueueSize": 1})
    yield f"registered: {stage.register(name)}"
    stage.set_load(name, "exit:3")
    stage.kill_worker(name)
    stage.wait_for_loads(name, 2)
    yield f"within, ping: {stage.ping()}"
    yield f"within, described: {stage.workers(name)}"
    yield f"behind, ping is unhealthy: {stage.wait(lambda: stage.ping().startswith('500'), 30)}"
    yield f"behind, described: {stage.workers(name)}"
    asked = stage.ask_later(name)
    stage.wait_for_queue(name, 1)
    yield f"behind, a second request: {stage.ask(name)}"
    time.sleep(4)  # TorchServe starts it once more behind the window
    loads = len(stage.notes(name, "loads"))
    yield f"is still tried: {stage.wait_for_loads(name, loads + 1, 20)}"
    stage.set_load(name, "")
    yield f"comes back: {stage.wait_until_up(name, 20)}"
    yield f"ping: {stage.ping()}"
    yield f"asked meanwhile: {stage.result(asked)}"
    for count in (0, 1):
        words = f"min_worker={count}&synchronous=true"
        yield f"scaled to {count}: {stage.manage('PUT', f'/models/{name}?{words}')}"
    yield f"described: {stage.workers(name)}"
    yield f"ping: {stage.ping()}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def hangs(stage: Stage) -> Iterator[str]:
    """No answer within response_timeout, and a request that waits behind."""
    name = "hangs"
    stage.write(name)
    stage.register(name, "initial_workers=1&response_timeout=3")
    began = time.monotonic()
    held = stage.ask_later(name, "hold:never")
    stage.wait_for_batches(name, 1)
    behind = stage.ask_later(name)
    yield f"what hangs: {held.result()}"
    yield f"not before its time: {time.monotonic() - began > 2.5}"
    yield f"and not much later: {time.monotonic() - began < 9}"
    yield f"what waited: {behind.result()}"
    yield f"loads: {len(stage.notes(name, 'loads'))}"
    yield f"ping: {stage.ping()}"
    yield f"removed: {stage.remove(name)}"


def overflows(stage: Stage) -> Iterator[str]:
    """More requests than jobQueueSize of the archive."""
    stage.write("narrow", config={**_ONE, "jobQueueSize": 2})
    yield from _overflow(stage, "narrow")


def overflows_by_default(stage: Stage) -> Iterator[str]:
    """More requests than job_queue_size of config.properties."""
    stage.write("queued")
    yield from _overflow(stage, "queued")


def _overflow(stage: Stage, name: str) -> Iterator[str]:
    stage.register(name)
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    waiting = [stage.ask_later(name, str(number)) for number in range(2)]
    stage.wait_for_queue(name, 2)
    yield f"queue: {stage.queue(name)}"
    yield f"beyond: {stage.ask(name, 'x')}"
    stage.release(name, "go")
    yield f"answers: {[each.result() for each in (held, *waiting)]}"
    yield f"queue: {stage.queue(name)}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def batches(stage: Stage) -> Iterator[str]:
    """Batches, and maxBatchDelay."""
    name = "batched"
    stage.write(name)
    words = "initial_workers=1&batch_size=4&max_batch_delay=2000"
    yield f"registered: {stage.register(name, words)}"
    began = time.monotonic()
    yield f"one alone: {stage.ask(name, 'alone')}"
    yield f"has waited for others: {time.monotonic() - began > 1.6}"
    held = [stage.ask_later(name, "hold:go") for _ in range(4)]
    stage.wait_for_batches(name, 2)
    many = [stage.ask_later(name, "many") for _ in range(9)]
    time.sleep(1)  # they come; TorchLoom hands whole batches on, so that no queue tells
    stage.release(name, "go")
    yield f"answers: {sorted({each.result() for each in (*held, *many)})}"
    sizes = [len(each.split()) for each in stage.notes(name, "batches")]
    yield f"largest batch, rows in all: {max(sizes)}, {sum(sizes)}"
    yield f"removed: {stage.remove(name)}"


def one_holds_up(stage: Stage) -> Iterator[str]:
    """Two workers, of which one is held up."""
    name = "pair"
    stage.write(name)
    stage.register(name, "initial_workers=2&batch_size=2&max_batch_delay=100")
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    yield f"asked: {[stage.ask(name, str(each)) for each in range(3)]}"
    stage.release(name, "go")
    yield f"held: {held.result()}"
    yield f"removed: {stage.remove(name)}"


def is_removed_busy(stage: Stage) -> Iterator[str]:
    """Play a model that is removed with a request in hand, and one in its queue."""
    name = "busy"
    stage.write(name)
    stage.register(name)
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    waiting = stage.ask_later(name, "waits")
    stage.wait_for_queue(name, 1)
    removal = stage.manage_later("DELETE", f"/models/{name}")
    stage.wait(removal.done, 2)
    yield f"is removed at once: {removal.done()}"
    yield f"asked meanwhile: {stage.ask(name)}"
    stage.release(name, "go")
    yield f"in hand: {stage.result(held)}"
    yield f"in the queue: {stage.result(waiting)}"
    yield f"removed: {removal.result()}"
    yield f"registered again: {stage.register(name)}"
    yield f"removed: {stage.remove(name)}"


def is_removed_hanging(stage: Stage) -> Iterator[str]:
    """Play a model that is removed while its worker hangs: unregister_model_timeout."""
    name = "stuck"
    stage.write(name)
    stage.register(name)
    held = stage.ask_later(name, "hold:never")
    stage.wait_for_batches(name, 1)
    yield f"removed: {stage.remove(name)}"
    yield f"in hand: {stage.result(held)}"
    yield f"described: {stage.workers(name)}"


def is_scaled_down_busy(stage: Stage) -> Iterator[str]:
    """Play the last worker is taken away with a request in hand."""
    name = "fewer"
    stage.write(name)
    stage.register(name)
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    scaling = stage.manage_later("PUT", f"/models/{name}?min_worker=0&synchronous=true")
    stage.wait(scaling.done, 2)
    stage.release(name, "go")
    yield f"scaled: {scaling.result()}"
    yield f"in hand: {stage.result(held)}"
    yield f"described: {stage.workers(name)}"
    yield f"asked: {stage.ask(name)}"
    yield f"ping: {stage.ping()}"
    yield f"scaled: {stage.manage('PUT', f'/models/{name}?min_worker=1&synchronous=true')}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def is_impatient(stage: Stage) -> Iterator[str]:
    """Play a request that waits for longer than clientTimeoutInMills."""
    name = "hasty"
    stage.write(name, config={**_ONE, "clientTimeoutInMills": 1000})
    stage.register(name)
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    waiting = stage.ask_later(name, "waits")
    yield f"what waits: {stage.result(waiting)}"
    stage.release(name, "go")
    yield f"what was in hand: {stage.result(held)}"
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"


def has_tickets(stage: Stage) -> Iterator[str]:
    """Play a model with useJobTicket, whose worker is busy, and then is killed."""
    name = "ticket"
    stage.write(name, config={**_ONE, "useJobTicket": True})
    stage.register(name)
    held = stage.ask_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    yield f"asked meanwhile: {stage.ask(name)}"
    stage.release(name, "go")
    yield f"held: {held.result()}"
    stage.set_load(name, "hold:back")
    stage.kill_worker(name)
    stage.wait_for_loads(name, 2)
    yield f"asked without a worker: {stage.result(stage.ask_later(name))}"
    stage.release(name, "back")
    stage.wait_until_up(name)
    yield f"asked: {stage.ask(name)}"
    yield f"removed: {stage.remove(name)}"
