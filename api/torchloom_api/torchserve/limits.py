"""Limits: what is decided for one version of a model, and where it was said.

The model's own YAML, the request that registers it and the server's properties meet here. Names and
units are TorchServe's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torchloom_api.torchserve.frontend_settings import FrontendSettings, StartupVersion
from torchloom_api.torchserve.parallel import level_of, type_of


DeviceType = Literal["cpu", "gpu"]

#: Workers that a model may have, and rows of a batch: no machine has more.
MAX_WORKERS = 256
MAX_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a descriptor tells. `min_workers`: how many are to run."""

    min_workers: int = 0
    max_workers: int = 0
    batch_size: int = 1
    max_batch_delay_ms: int = 100
    response_timeout_s: int = 120
    startup_timeout_s: int = 120
    max_retry_timeout_s: int = 300
    client_timeout_ms: int = 0
    parallel_type: str = ""
    parallel_level: int = 0
    device_type: DeviceType | None = None
    device_ids: tuple[int, ...] = ()
    continuous_batching: bool = False
    use_job_ticket: bool = False
    use_venv: bool = False
    #: `asyncCommunication`: the handler is a coroutine, called for each request by itself.
    is_async: bool = False
    stateful: bool = False
    sequence_max_idle_ms: int = 0
    sequence_timeout_ms: int = 0
    max_num_sequence: int = 0
    max_sequence_job_queue_size: int = 0
    job_queue_size: int = 100

    @property
    def gpus_each(self) -> int:
        """Give how many GPUs a worker has, where it has any."""
        return max(self.parallel_level, 1) if self.parallel_type else 1

    def alone(self, most_s: int) -> Limits:
        """Give the limits of a single worker that may take so long for whatever it does."""
        return replace(
            self,
            min_workers=1,
            max_workers=1,
            response_timeout_s=most_s,
            startup_timeout_s=most_s,
            client_timeout_ms=0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a registration asks for; None: not said."""

    initial_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None


def fill(wish: Wish, said: StartupVersion | None, *, workers: int | None) -> Wish:
    """Fill in what the property `models` says of a version.

    `workers`: how many it has where nobody says, of a model of the start; None: they are asked for.
    """
    if workers is not None:
        least = None if said is None else said.min_workers
        most = None if said is None else said.max_workers
        wish = replace(wish, initial_workers=_or(least, workers), max_workers=most)
    if said is None:
        return wish
    given = {
        name: getattr(said, name) if getattr(wish, name) is None else getattr(wish, name)
        for name in ("batch_size", "max_batch_delay_ms", "response_timeout_s", "startup_timeout_s")
    }
    return replace(wish, **given)


def decide_limits(wish: Wish, archive: Mapping[str, object], settings: FrontendSettings) -> Limits:
    """Lay a registration's wish, the archive's YAML and the properties over each other.

    As TorchServe does: workers and timeouts are the YAML's where there is one, batches the wish's.
    """
    said = Limits(
        batch_size=_batch(wish.batch_size, archive.get("batchSize")),
        max_batch_delay_ms=_delay(wish.max_batch_delay_ms, archive.get("maxBatchDelay")),
        response_timeout_s=_or(wish.response_timeout_s, settings.default_response_timeout_s),
        startup_timeout_s=_or(wish.startup_timeout_s, settings.default_startup_timeout_s),
        job_queue_size=max(_int(archive.get("jobQueueSize"), settings.job_queue_size), 1),
    )
    workers = max(_or(wish.initial_workers, settings.default_workers_per_model), 0)
    most = max(_or(wish.max_workers, workers), workers)
    said = replace(said, min_workers=min(workers, MAX_WORKERS), max_workers=min(most, MAX_WORKERS))
    return _from_archive(said, archive) if archive else said


def _from_archive(said: Limits, archive: Mapping[str, object]) -> Limits:
    least = _int(archive.get("minWorkers"), 0)
    most = _int(archive.get("maxWorkers"), least)
    has_workers = 0 < least <= most
    is_sequence = archive.get("sequenceBatching") is True
    max_idle_ms = _int(archive.get("sequenceMaxIdleMSec"), 0)
    # TorchServe shows them of any model that says how long a sequence may be idle.
    has_sequences = is_sequence or max_idle_ms > 0
    return replace(
        said,
        min_workers=min(least, MAX_WORKERS) if has_workers else said.min_workers,
        max_workers=min(most, MAX_WORKERS) if has_workers else said.max_workers,
        response_timeout_s=max(_int(archive.get("responseTimeout"), 120), 1),
        startup_timeout_s=max(_int(archive.get("startupTimeout"), 120), 1),
        max_retry_timeout_s=_int(archive.get("maxRetryTimeoutInSec"), 300),
        client_timeout_ms=max(_int(archive.get("clientTimeoutInMills"), 0), 0),
        parallel_type=type_of(archive),
        parallel_level=level_of(archive),
        device_type=_device(archive.get("deviceType")),
        device_ids=_ids(archive.get("deviceIds")),
        continuous_batching=archive.get("continuousBatching") is True,
        use_job_ticket=archive.get("useJobTicket") is True,
        use_venv=archive.get("useVenv") is True,
        is_async=archive.get("asyncCommunication") is True,
        stateful=is_sequence,
        sequence_max_idle_ms=max_idle_ms,
        sequence_timeout_ms=_int(archive.get("sequenceTimeoutMSec"), 0),
        max_num_sequence=_int(archive.get("maxNumSequence"), 1) if has_sequences else 0,
        max_sequence_job_queue_size=(
            _int(archive.get("maxSequenceJobQueueSize"), 1) if has_sequences else 0
        ),
    )


def _batch(wished: int | None, archive: object) -> int:
    return min(max(_or(wished, _int(archive, 1)), 1), MAX_BATCH)


def _delay(wished: int | None, archive: object) -> int:
    return max(_or(wished, _int(archive, 100)), 0)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _int(value: object, default: int) -> int:
    """Read a number of a YAML file, which may be text there."""
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        return default
    try:
        return int(value)
    except (ValueError, OverflowError):
        return default


def _device(value: object) -> DeviceType | None:
    return value if value in ("cpu", "gpu") else None


def _ids(value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(each for each in (_int(item, -1) for item in value) if each >= 0)
