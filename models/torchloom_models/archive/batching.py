"""Batching: how an archive wants its requests to come together, and the engine that does it.

What `model-config.yaml` says: `batchSize`, `continuousBatching`, `sequenceBatching`,
`asyncCommunication` and the limits of sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from torchloom.errors import InvalidModel
from torchloom.policy import SessionPolicy
from torchloom_models.archive.async_engine import AsyncHandlerEngine
from torchloom_models.archive.context import Context
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.field import BATCH_SIZE
from torchloom_models.archive.sequence_headers import SequenceHeaders
from torchloom_models.archive.sequences import Sequences


#: The most rows of a call, and the most sequences or calls at once.
_MAX_SIZE: Final = 4096

#: How sequences are called that a request has begun without a name.
_PREFIX: Final = "ts-seq-"

#: How many calls of a coroutine go on at once, unless the model file says.
_NUM_CALLS: Final = 256

AnyEngine = HandlerEngine | AsyncHandlerEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How requests come together. `loop` is there for handlers that are coroutines."""

    size: int
    num_calls: int = _NUM_CALLS
    is_continuous: bool = False
    sequences: Sequences | None = None
    loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def read(
        cls,
        config: Mapping[str, object],
        *,
        stated: object = None,
        headers: SequenceHeaders | None = None,
    ) -> Self:
        """Read a configuration; the batch size that a model file has `stated` goes before its own.

        `headers`: those that tell of sequences, where they have other names than usual.

        Raises InvalidModel for numbers that cannot be.
        """
        size = _number(
            "batchSize", config.get("batchSize", BATCH_SIZE) if stated is None else stated
        )
        sequences = None
        if _is_set(config, "sequenceBatching"):
            policy = SessionPolicy(
                max_open=_number("maxNumSequence", config.get("maxNumSequence", 1)),
                max_waiting=_number(
                    "maxSequenceJobQueueSize", config.get("maxSequenceJobQueueSize", 1)
                ),
                max_idle_s=_milliseconds(config, "sequenceMaxIdleMSec") / 1000,
                max_life_s=_milliseconds(config, "sequenceTimeoutMSec") / 1000,
                prefix=_PREFIX,
            )
            sequences = Sequences(policy=policy, headers=headers or SequenceHeaders())
        loop = None
        if _is_set(config, "asyncCommunication"):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)  # handlers make locks and tasks as they are initialised
        return cls(
            size=size,
            num_calls=_NUM_CALLS if stated is None else size,
            is_continuous=_is_set(config, "continuousBatching"),
            sequences=sequences,
            loop=loop,
        )

    def make_engine(
        self, entry: Entry, context: Context, *, device: str, close: Callable[[], None]
    ) -> AnyEngine:
        """Make the engine that works so."""
        if self.loop is not None:
            return AsyncHandlerEngine(
                entry,
                context,
                max_tasks=self.num_calls,
                device=device,
                loop=self.loop,
                close=close,
            )
        most = self.size
        if self.sequences is not None:
            policy = self.sequences.policy
            most = min(policy.max_open * (1 + (policy.max_waiting or 0)), _MAX_SIZE)
        return HandlerEngine(
            entry,
            context,
            max_tasks=most,
            max_rows=self.size,
            device=device,
            is_continuous=self.is_continuous,
            sequences=self.sequences,
            close=close,
        )


def _is_set(config: Mapping[str, object], key: str) -> bool:
    return str(config.get(key, False)).lower() == "true"


def _number(key: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= _MAX_SIZE:
        raise InvalidModel(f"`{key}` is a number from 1 to {_MAX_SIZE}, not {value!r}.")
    return number


def _milliseconds(config: Mapping[str, object], key: str) -> float:
    value = config.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InvalidModel(f"`{key}` is a number of milliseconds, not {value!r}.")
    return float(value)
