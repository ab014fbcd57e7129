"""Describing: a model as `GET /models/NAME` shows it, key by key in TorchServe's order."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import psutil

from torchloom.model_status import ModelStatus
from torchloom.replica_state import ReplicaStatus
from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import unavailable
from torchloom_api.torchserve.handler_answer import to_answer


Document = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a version and its handler say. Of `head`, status, phrase and headers count."""

    document: Document
    head: Answer


_READY: Final = "READY"
_UNLOADING: Final = "UNLOADING"


def describe(frontend: Frontend, served: Served) -> Document:
    """Show a version: what was decided for it, its workers, and what waits for them."""
    status = frontend.catalog.status(served)
    limits = served.limits
    has_gpu = status is not None and any(_is_gpu(each) for each in status.replicas)
    document: Document = {
        "modelName": served.name,
        "modelVersion": served.version,
        **({} if served.is_function else {"modelUrl": served.url}),
        "runtime": served.runtime,
        "minWorkers": limits.min_workers,
        "maxWorkers": limits.max_workers,
        "batchSize": limits.batch_size,
        "maxBatchDelay": limits.max_batch_delay_ms,
        "responseTimeout": limits.response_timeout_s,
        "startupTimeout": limits.startup_timeout_s,
        "maxRetryTimeoutInSec": limits.max_retry_timeout_s,
        "clientTimeoutInMills": limits.client_timeout_ms,
        "parallelType": limits.parallel_type,
        "parallelLevel": limits.parallel_level,
        "deviceType": limits.device_type or ("gpu" if has_gpu else "cpu"),
    }
    if limits.device_ids:
        document["deviceIds"] = list(limits.device_ids)
    return document | {
        "continuousBatching": limits.continuous_batching,
        "useJobTicket": limits.use_job_ticket,
        "useVenv": limits.use_venv,
        "stateful": limits.stateful,
        "sequenceMaxIdleMSec": limits.sequence_max_idle_ms,
        "sequenceTimeoutMSec": limits.sequence_timeout_ms,
        "maxNumSequence": limits.max_num_sequence,
        "maxSequenceJobQueueSize": limits.max_sequence_job_queue_size,
        "loadedAtStartup": served.is_at_startup,
        "workers": list(_workers(frontend, served, status)),
        "jobQueueStatus": _queue(served, status),
    }


async def describe_customized(
    frontend: Frontend, served: Served, *, headers: Mapping[str, str], request_id: str
) -> Told:
    """Show a version, and what its handler says of itself. FrontendError: it has no worker."""
    status = frontend.catalog.status(served)
    if status is None or not status.replicas:
        message = (
            f'Model "{served.name}" has no worker to serve describe request. Please use scale '
            "workers API to add workers."
        )
        raise unavailable(message)
    if served.language is not None:  # there is no handler that could say more
        document = describe(frontend, served) | {"customizedMetadata": {}}
        return Told(document=document, head=Answer())
    outputs = await frontend.service.orchestrator.predict(
        served.name,
        {},
        {
            "headers": dict(headers),
            "is_describe": True,
            "is_explain": None,
            "request_id": request_id,
            "url_path": None,
        },
        version=served.number,
    )
    metadata = _metadata(outputs.get("body"))
    answer = to_answer(outputs, frontend.settings.max_response_size)
    return Told(document=describe(frontend, served) | {"customizedMetadata": metadata}, head=answer)


def _metadata(body: object) -> object:
    """Read what the handler gave; what is no JSON object says nothing."""
    if not isinstance(body, bytes | bytearray | memoryview):
        return {}
    try:
        value: object = json.loads(bytes(body))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict | list) else {}


def _workers(frontend: Frontend, served: Served, status: ModelStatus | None) -> Iterator[Document]:
    replicas = status.replicas if status is not None else ()
    ids = frontend.catalog.worker_ids(served, len(replicas))
    for worker_id, replica in zip(ids, replicas, strict=True):
        started_at, memory = _look_at(replica.pid)
        ready = replica.state == "ready"
        is_gpu = _is_gpu(replica)
        yield {
            "id": str(worker_id),
            "startTime": _moment(started_at),
            "status": _READY if ready else _UNLOADING,
            "memoryUsage": memory,
            "pid": replica.pid or -1,
            "gpu": is_gpu,
            "gpuUsage": frontend.gpu_usage(replica.device) if is_gpu else "N/A",
        }


def _look_at(pid: int | None) -> tuple[float, int]:
    """Give when a process began, in seconds since 1970, and the bytes that it holds."""
    if pid is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                return process.create_time(), process.memory_info().rss
    return 0.0, 0


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _queue(served: Served, status: ModelStatus | None) -> Document:
    waiting = 0 if status is None else status.queue_depth
    left = max(served.limits.job_queue_size - waiting, 0)
    return {"remainingCapacity": left, "pendingRequests": waiting}


def _is_gpu(replica: ReplicaStatus) -> bool:
    return replica.device.startswith("cuda")
