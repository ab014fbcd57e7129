"""The ways in which servers are set up for faults to be played on them, with what is played.

Those scenes stand here that go with one of the ways alone: times of config.properties, models that
fail at the start, tokens that run out, sequences, workflows, and TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks import torchserve_scenes as scenes
from benchmarks import torchserve_tls as tls
from benchmarks.torchserve_stage import Stage


Play = Callable[[Stage], Iterator[str]]

_OPEN: Final = ("--ncs", "--disable-token-auth", "--enable-model-api")

_ONE: Final = {"minWorkers": 1, "maxWorkers": 1}

_SEQUENCES: Final = {**_ONE, "batchSize": 2, "maxBatchDelay": 20, "sequenceBatching": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A way to set a server up. `at_start`: models that it begins with, and what their loads do.

    `identity`: how it proves who it is, where its ports speak TLS: see `torchserve_tls`.
    """

    name: str
    plays: Sequence[Play]
    properties: Mapping[str, object] = field(default_factory=dict)
    at_start: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = _OPEN
    identity: str = ""


def says_times(stage: Stage) -> Iterator[str]:
    """Play times that config.properties says, and an archive whose YAML says none."""
    stage.write("plain")
    stage.write("said", config=_ONE)
    for name in ("plain", "said"):
        yield f"registered: {stage.register(name)}"
        about = stage.describe(name)
        yield f"{name}: {about['responseTimeout']} s, {about['startupTimeout']} s"
    yield f"what hangs: {stage.ask('plain', 'hold:never')}"
    yield f"asked: {stage.ask('plain')}"
    for name in ("plain", "said"):
        yield f"removed: {stage.remove(name)}"
    stage.write("late", "hold:never")
    yield f"registered: {stage.register('late')}"


def fails_at_start(stage: Stage) -> Iterator[str]:
    """Models of the start, one of which dies as it loads, and one hangs."""
    yield f"asked: {stage.ask('startsound')}"
    yield f"ping: {stage.ping()}"
    for name in ("startdies", "starthangs"):
        yield f"is tried again: {stage.wait_for_loads(name, 2, 30)}"
        stage.set_load(name, "")
        yield f"comes by itself: {stage.wait_until_up(name, 40)}"
        yield f"asked: {stage.ask(name)}"
    yield f"ping: {stage.ping()}"


def expires(stage: Stage) -> Iterator[str]:
    """Tokens that live for some seconds, and others in their place."""
    stage.write("guarded")
    key = stage.key("inference")
    yield f"ping: {stage.ask_path('/ping', Authorization=key)}"
    stage.wait(lambda: stage.ask_path("/ping", Authorization=key).startswith("400"), 20)
    yield f"later: {stage.ask_path('/ping', Authorization=key)}"
    for kind in ("inference", "management"):
        words = stage.manage("GET", f"/token?type={kind}", Authorization=stage.key("API"))
        yield f"another {kind} key: {words}"
    yield f"is another: {key != stage.key('inference')}"
    yield f"ping: {stage.ask_path('/ping', Authorization=stage.key('inference'))}"
    listed = stage.manage("GET", "/models?limit=1", Authorization=stage.key("management"))
    yield f"models: {listed}"
    yield f"the old one: {stage.ask_path('/ping', Authorization=key)}"


def idles(stage: Stage) -> Iterator[str]:
    """Sequences that end because nobody goes on with them: sequenceMaxIdleMSec."""
    name = "idling"
    stage.write_sums(name, {**_SEQUENCES, "maxNumSequence": 1, "sequenceMaxIdleMSec": 2000})
    yield f"registered: {stage.register(name)}"
    yield f"begun: {_add(stage, name, 'a')}"
    yield f"another: {_add(stage, name, 'b')}"
    yield f"has room later: {stage.wait(lambda: _add(stage, name, 'b').startswith('200'), 20)}"
    yield f"the first again: {_add(stage, name, 'a')}"
    yield f"removed: {stage.remove(name)}"


def lasts(stage: Stage) -> Iterator[str]:
    """Play a sequence that goes on and on: sequenceTimeoutMSec."""
    name = "lasting"
    limits = {"maxNumSequence": 1, "sequenceMaxIdleMSec": 60_000, "sequenceTimeoutMSec": 2500}
    stage.write_sums(name, {**_SEQUENCES, **limits})
    yield f"registered: {stage.register(name)}"
    yield f"begun: {_add(stage, name, 'a')}"
    yield f"another: {_add(stage, name, 'b')}"
    yield f"has room later: {stage.wait(lambda: _add(stage, name, 'b').startswith('200'), 20)}"
    yield f"removed: {stage.remove(name)}"


def _add(stage: Stage, name: str, sequence: str) -> str:
    return stage.ask(name, "1", ts_request_sequence_id=sequence)


def outlasts(stage: Stage) -> Iterator[str]:
    """Play a node of a workflow that takes longer than timeout-ms, retry-attempts times."""
    stage.write("node")
    stage.write_workflow("patient")
    yield f"registered: {stage.manage('POST', '/workflows?url=patient.war')}"
    yield f"asked: {stage.ask_path('/wfpredict/patient')}"
    yield f"raises: {stage.ask_path('/wfpredict/patient', 'raise:no luck')}"
    raised = [each for each in stage.notes("node", "batches") if each.startswith("raise")]
    yield f"tries: {len(raised)}"
    yield f"hangs: {stage.ask_path('/wfpredict/patient', 'hold:go')}"
    stage.release("node", "go")
    stage.wait(lambda: stage.queue("patient__node").startswith("0"))
    yield f"asked: {stage.ask_path('/wfpredict/patient')}"
    yield f"removed: {stage.manage('DELETE', '/workflows/patient')}"


def is_called(stage: Stage) -> Iterator[str]:
    """Play the same over gRPC: a worker that dies, hangs, or has a full queue."""
    name = "called"
    stage.write(name, config={**_ONE, "jobQueueSize": 1, "responseTimeout": 3})
    yield f"registered: {stage.register(name)}"
    held = stage.call_later(name, "hold:go")
    stage.wait_for_batches(name, 1)
    waiting = stage.call_later(name)
    stage.wait_for_queue(name, 1)
    yield f"beyond the queue: {stage.call(name)}"
    stage.release(name, "go")
    yield f"held: {held.result()}"
    yield f"waited: {waiting.result()}"
    for deed in ("exit:1", "exit:137", "memory:", "raise:no luck", "hold:never"):
        yield f"asked {deed}: {stage.call(name, deed)}"
        yield f"asked next: {stage.call(name)}"
    yield f"removed: {stage.remove(name)}"
    yield f"asked: {stage.call(name)}"


_TIMES: Final = {
    "default_response_timeout": 3,
    "default_startup_timeout": 4,
    "unregister_model_timeout": 3,
    "job_queue_size": 2,
}

SETTINGS: Final = (
    Setting(
        name="usual",
        plays=(
            scenes.dies_loading,
            scenes.raises_loading,
            scenes.lacks_memory,
            scenes.is_killed_loading,
            scenes.is_late,
            scenes.fails_behind,
            scenes.is_removed_loading,
            scenes.is_scaled_in_vain,
            scenes.is_killed_idle,
            scenes.dies_serving,
            scenes.fails_to_come_back,
            scenes.is_late_again,
            scenes.gives_up,
            scenes.hangs,
            scenes.overflows,
            scenes.batches,
            scenes.one_holds_up,
            scenes.is_removed_busy,
            scenes.is_scaled_down_busy,
            scenes.is_impatient,
            scenes.has_tickets,
            is_called,
            idles,
            lasts,
            outlasts,
        ),
    ),
    Setting(
        name="times",
        plays=(scenes.overflows_by_default, scenes.is_removed_hanging, says_times),
        properties=_TIMES,
    ),
    Setting(
        name="start",
        plays=(fails_at_start,),
        properties={"default_startup_timeout": 4},
        at_start={"startsound": "", "startdies": "exit:3", "starthangs": "hold:never"},
    ),
    Setting(
        name="tokens",
        plays=(expires,),
        properties={"token_expiration_min": 0.08},
        words=("--ncs", "--enable-model-api"),
    ),
    *(
        Setting(name=f"TLS by {identity}", plays=(tls.speaks,), identity=identity)
        for identity in tls.IDENTITIES
    ),
)
