"""Model files: an archive and what TorchServe was told of it, as a model file of kind `handler`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.archive_file import ArchiveFile
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.migration.note import Note
from torchloom_api.torchserve.model_document import MAX_TIMEOUT_S
from torchloom_api.torchserve.parallel import level_of, to_parallel, type_of
from torchloom_api.torchserve.startup_model import StartupModel
from torchloom_models.archive.sequence_headers import SequenceHeaders


_ENDINGS: Final = (".tar.gz", ".tgz", ".mar", ".model")

#: Keys of model-config.yaml that have no place here → what there is in their stead.
_LOST: Mapping[str, str] = MappingProxyType(
    {
        "maxRetryTimeoutInSec": "workers are started again for as long as the server runs",
        "clientTimeoutInMills": "requests may say `X-Request-Timeout`",
        "useJobTicket": "`queue: {max_size: 1}` comes close",
    }
)

#: The same for language models.
LOST_BY_LANGUAGE: Mapping[str, str] = MappingProxyType(
    {
        **_LOST,
        **dict.fromkeys(
            ("parallelType", "parallelLevel", "torchrun"), "a language model runs on one device"
        ),
    }
)

_ENVELOPES: Final = frozenset({"body", "json", "kserve", "kservev2"})

#: Keys that a model file holds in its own words.
_CARRIED: Final = frozenset(
    {
        *("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "deviceType", "deviceIds"),
        *("jobQueueSize", "parallelType", "parallelLevel", "torchrun"),
        *("responseTimeout", "startupTimeout"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """What an archive says of itself: manifest and model-config.yaml."""

    path: Path
    name: str
    version: str
    handler: str | None
    has_manifest: bool
    runtime: str = "python"
    config: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> ArchiveFacts:
        """Read an archive. Raises UnreadableArchive."""
        archive = ArchiveFile(path)
        manifest = archive.manifest()
        model = (manifest or {}).get("model")
        said: Mapping[str, object] = model if isinstance(model, dict) else {}
        stem = path.name
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        file = said.get("configFile")
        return cls(
            path=path,
            name=str(said.get("modelName") or re.sub(r"\W", "_", stem)),
            version=str(said.get("modelVersion") or "1.0"),
            handler=str(said["handler"]) if said.get("handler") else None,
            has_manifest=manifest is not None,
            runtime=str((manifest or {}).get("runtime") or "python"),
            config=archive.mapping(str(file)) if file else {},
        )


def number_versions(versions: list[str]) -> dict[str, int]:
    """Give a whole number for each: its own where all are whole (2, 2.0), else its place."""
    own = {text: re.fullmatch(r"([1-9][0-9]{0,8})(?:\.0+)*", text) for text in versions}
    numbers = {text: int(match[1]) for text, match in own.items() if match}
    if len(set(numbers.values())) == len(set(versions)):
        return numbers
    ordered = sorted(set(versions), key=_natural)
    return {text: number for number, text in enumerate(ordered, start=1)}


def to_model_file(
    facts: ArchiveFacts,
    *,
    name: str,
    version: int,
    config: Config,
    told: StartupModel | None = None,
    metrics: Sequence[Mapping[str, object]] = (),
) -> tuple[dict[str, object], list[Note]]:
    """Write the model file of an archive, and note what it cannot say.

    What the server was `told` of the model wins over the archive's own configuration where it does
    in TorchServe: batches; workers are the archive's if it names any. `metrics`: those of handlers
    that `metrics_config` declares.
    """
    subject = facts.path.name
    handler = None if facts.has_manifest else config.default_service_handler
    file: dict[str, object] = {
        "name": name,
        "version": version,
        "kind": "handler",
        "source": str(facts.path.resolve()),
        "model_version": facts.version,
        "handler": handler,
        "envelope": config.service_envelope if config.service_envelope in _ENVELOPES else None,
        "limit_image_pixels": None if config.limit_max_image_pixels else False,
        "sequence_headers": _to_sequence_headers(config),
        "metrics": list(metrics) or None,
        "batching": _to_batching(facts.config, told),
        "parallel": to_parallel(facts.config, _to_gpus(facts.config)),
    }
    common, notes = to_common_keys(facts, config=config, told=told)
    if config.service_envelope not in {None, *_ENVELOPES}:
        message = f"service_envelope={config.service_envelope} is not known here."
        notes.append(Note(subject=subject, message=message))
    if facts.runtime == "LSP":
        notes.append(Note(subject=subject, message="it is for the C++ backend, and is not served."))
    if not facts.has_manifest and handler is None:
        message = "it has no manifest, and no default_service_handler is set: add `handler:`."
        notes.append(Note(subject=subject, message=message))
    stays = sorted(set(facts.config) - _CARRIED - set(_LOST))
    if stays:
        message = f"stays in the archive, where its handler reads it: {', '.join(stays)}."
        notes.append(Note(subject=subject, message=message))
    return {key: value for key, value in (file | common).items() if value is not None}, notes


def to_common_keys(
    facts: ArchiveFacts,
    *,
    config: Config,
    told: StartupModel | None,
    lost: Mapping[str, str] = _LOST,
) -> tuple[dict[str, object], list[Note]]:
    """Write the keys that all kinds have in common, some of them None, and note what is lost."""
    subject = facts.path.name
    notes = [
        Note(subject=subject, message=f"`{key}: {facts.config[key]}` is not carried over: {why}.")
        for key, why in lost.items()
        if key in facts.config
    ]
    bounds = _to_replicas(facts.config, config, told)
    if bounds is not None and bounds["min"] < bounds["max"]:
        message = (
            f"the number of its workers follows the load from {bounds['min']} to {bounds['max']}, "
            f"where TorchServe keeps to the first: for that, write `replicas: {bounds['min']}`."
        )
        notes.append(Note(subject=subject, message=message))
    keys: dict[str, object] = {
        "devices": _to_devices(facts.config),
        "replicas": bounds,
        "queue": _to_queue(facts.config, config),
        **_to_timeouts(facts.config, config, told),
    }
    return keys, notes


def _to_sequence_headers(config: Config) -> dict[str, str] | None:
    headers = SequenceHeaders(
        id=config.ts_header_key_sequence_id,
        start=config.ts_header_key_sequence_start,
        end=config.ts_header_key_sequence_end,
    )
    return None if headers == SequenceHeaders() else asdict(headers)


def read_facts(path: Path, notes: list[Note]) -> ArchiveFacts | None:
    """Read an archive, or note why it cannot be read."""
    try:
        return ArchiveFacts.read(path)
    except TorchLoomError as error:
        notes.append(Note(subject=path.name, message=f"left out: {error.message}"))
        return None


def _to_devices(config: Mapping[str, object]) -> list[str] | None:
    kind = str(config.get("deviceType", "")).lower()
    if kind == "cpu":
        return ["cpu"]
    if kind == "gpu":
        each = max(level_of(config), 1) if type_of(config) else 1
        return [f"cuda:{first}" for first in _to_gpus(config)[::each]] or ["cuda"]
    return None


def _to_gpus(config: Mapping[str, object]) -> list[int]:
    ids = config.get("deviceIds")
    numbers = [_count(each) for each in ids] if isinstance(ids, list) else []
    return [each for each in numbers if each is not None]


def _to_replicas(
    own: Mapping[str, object], config: Config, told: StartupModel | None
) -> dict[str, int] | None:
    least, most = _count(own.get("minWorkers")), _count(own.get("maxWorkers"))
    if not least and told is not None:
        least, most = told.min_workers, told.max_workers
    least = least or config.default_workers_per_model
    if not least:
        return None
    return {"min": least, "max": max(least, most or least)}


def _to_batching(own: Mapping[str, object], told: StartupModel | None) -> dict[str, object] | None:
    size = (told.batch_size if told else None) or _count(own.get("batchSize"))
    delay = told.max_batch_delay if told else None
    delay = _count(own.get("maxBatchDelay")) if delay is None else delay
    if size is None and delay is None:
        return None
    batching: dict[str, object] = {"max_size": size or 1}
    if delay is not None:
        batching["max_wait_s"] = delay / 1000
    return batching


def _to_queue(own: Mapping[str, object], config: Config) -> dict[str, object]:
    """Keep TorchServe's bound, also where it was not said: it is a tenth of ours."""
    return {"max_size": _count(own.get("jobQueueSize")) or config.job_queue_size}


def _to_timeouts(
    own: Mapping[str, object], config: Config, told: StartupModel | None
) -> dict[str, object]:
    """Keep TorchServe's bounds, also where they were not said: here there would be none."""
    load_s = _count(own.get("startupTimeout")) or (told.startup_timeout if told else None)
    step_s = _count(own.get("responseTimeout")) or (told.response_timeout if told else None)
    return {
        "load_timeout_s": min(load_s or config.default_startup_timeout, MAX_TIMEOUT_S),
        "step_timeout_s": min(step_s or config.default_response_timeout, MAX_TIMEOUT_S),
    }


def _count(value: object) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if number >= 0 else None


def _natural(text: str) -> list[tuple[int, str]]:
    """Order 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
