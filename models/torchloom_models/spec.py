"""Model files: a document becomes a Deployment, or all that is wrong with it. Loads nothing.

What is common to all kinds is here; what a kind adds is in its table. Knows no YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import cast, get_args

from torchloom.departure import SchemaCheck
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.document import Document
from torchloom.errors import DeviceUnavailable, Fault, InvalidModel, nearest
from torchloom.policy import BatchPolicy, QueuePolicy, ReplicaPolicy
from torchloom.signature import Schema
from torchloom_models.backend import BACKENDS, WEIGHT_FORMATS, backend_of, find_clash
from torchloom_models.compile_settings import Mode
from torchloom_models.estimate import estimate_bytes
from torchloom_models.kind import KINDS, Kind
from torchloom_models.llm.draft.field import draft_source, with_draft_source
from torchloom_models.schema import BOOLEAN, POSITIVE, STRING
from torchloom_models.source import find_fault


#: What fetches a source that is not on this machine, and tells its size.
_FETCH = "torchloom_models.estimate:fetch_bytes"


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_SECONDS: Schema = {"type": "number", "minimum": 0, "maximum": 3600}

#: A week at most: what is to wait longer need not be watched.
_TIMEOUT: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 604_800}

_COMPILE: Schema = {
    "oneOf": [
        {"type": "string", "enum": list(BACKENDS)},
        _object(
            {
                "backend": {"type": "string", "enum": list(BACKENDS)},
                "mode": {"type": "string", "enum": list(get_args(Mode))},
                "dynamic": BOOLEAN,
                "buckets": {"type": "array", "items": POSITIVE, "minItems": 1, "maxItems": 32},
            }
        ),
    ]
}

#: What every model file may say.
COMMON_FIELDS: Mapping[str, Schema] = {
    "name": {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$",
        "$comment": (
            "A name is made of letters, digits, '_', '.' and '-', starts with a letter or "
            "digit, and has 128 characters at most."
        ),
    },
    "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "description": STRING,
    "kind": STRING,
    "source": {"type": "string", "minLength": 1},
    "dtype": {"type": "string", "enum": ["auto", "float32", "bfloat16", "float16"]},
    "weights": {"type": "string", "enum": list(WEIGHT_FORMATS)},
    "devices": {"type": "array", "items": STRING, "minItems": 1, "maxItems": 64},
    "compile": _COMPILE,
    "replicas": {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 256},
            _object(
                {
                    "min": {**POSITIVE, "minimum": 0, "maximum": 256},
                    "max": {**POSITIVE, "maximum": 256},
                    "wait_s": _SECONDS,
                    "idle_s": _TIMEOUT,
                }
            ),
        ]
    },
    "batching": _object({"max_size": {**POSITIVE, "maximum": 4096}, "max_wait_s": _SECONDS}),
    "queue": _object(
        {
            "max_size": {**POSITIVE, "maximum": 1_000_000},
            "overflow": {"type": "string", "enum": ["reject", "wait"]},
        }
    ),
    "warmup": BOOLEAN,
    "threads": {**POSITIVE, "maximum": 1024},
    "load_timeout_s": _TIMEOUT,
    "step_timeout_s": _TIMEOUT,
    "inline": BOOLEAN,
    "params": {"type": "object"},
}


def parse_model(document: Document, *, base: Path) -> Deployment:
    """Check a model file whole and make its deployment.

    A `source` that is a path is relative to `base`. Raises InvalidModel with every fault.
    """
    kind = _find_kind(document)
    departures = _check_of(kind.name).find(document.data)
    faults = [document.fault(d.message, *d.path, at_key=d.at_key) for d in departures]
    data = cast("Mapping[str, object]", document.data)
    bad = {d.path[0] for d in departures if d.path}
    devices = () if "devices" in bad else _read_devices(document, data, faults)
    if not bad & {"devices", "compile", "weights"}:
        faults += _find_clashes(document, data, devices, kind)
    if "replicas" not in bad and _replicas(data).max < _replicas(data).min:
        faults.append(document.fault("`max` must not be below `min`.", "replicas"))
    if data.get("inline") is True and not kind.can_inline:
        message = f"Models of kind {kind.name!r} cannot be inline: they run in a worker."
        faults.append(document.fault(message, "inline"))
    if kind.has_files and isinstance(data.get("source"), str):
        fault = find_fault(str(data["source"]))
        faults += [document.fault(fault, "source")] if fault else []
    if "adapters" in kind.fields and "adapters" not in bad:
        faults += _find_adapter_faults(document, data)
    if "speculation" in kind.fields and "speculation" not in bad:
        faults += _find_draft_faults(document, data)
    if faults:
        raise _invalid(document, faults)
    return _deploy(kind, data, devices, base)


def _find_kind(document: Document) -> Kind:
    """Give the kind that the rest of the file is checked by; without one nothing can be said."""
    data = document.data
    known = ", ".join(sorted(KINDS))
    if not isinstance(data, dict):
        raise _invalid(document, [document.fault("A model file is a mapping of keys to values.")])
    name = data.get("kind")
    if name is None:
        fault = document.fault(f"The key 'kind' is missing. There are: {known}.")
        raise _invalid(document, [fault])
    if not isinstance(name, str) or name not in KINDS:
        suggestion = nearest(str(name), KINDS)
        suggestion = suggestion if "Did you mean" in suggestion else f" There are: {known}."
        fault = document.fault(f"There is no kind {name!r} of model.{suggestion}", "kind")
        raise _invalid(document, [fault])
    return KINDS[name]


@cache
def _check_of(kind: str) -> SchemaCheck:
    table = KINDS[kind]
    params = {"type": "object", "properties": dict(table.signature.params)}
    properties = {**COMMON_FIELDS, **table.fields}
    properties["params"] = {**params, "additionalProperties": table.signature.is_open}
    required = ["name", "kind", *sorted(table.required_fields)]
    return SchemaCheck({**_object(properties), "required": required})


def _read_devices(
    document: Document, data: Mapping[str, object], faults: list[Fault]
) -> tuple[Device, ...]:
    devices = []
    for place, text in enumerate(cast("list[str]", data.get("devices", ["auto"]))):
        try:
            devices.append(Device.parse(text))
        except DeviceUnavailable as error:
            faults.append(document.fault(error.message, "devices", place))
    if len(set(devices)) < len(devices):
        message = "A device is named twice. For more workers on a device, set `replicas`."
        faults.append(document.fault(message, "devices"))
    return tuple(devices)


def _find_clashes(
    document: Document, data: Mapping[str, object], devices: Sequence[Device], kind: Kind
) -> list[Fault]:
    """Find the devices that cannot run the kind, or what `compile` and `weights` ask for."""
    backend, weights = backend_of(data.get("compile", "auto")), data.get("weights", "full")
    faults = []
    for place, device in enumerate(devices):
        clash = find_clash(device, backend=backend, weights=weights)
        if kind.is_on_cpu and device.kind not in {"auto", "cpu"}:
            clash = (
                f"Models of kind {kind.name!r} run on the CPU, not on {str(device)!r}: write "
                "`devices: [cpu]`, or leave `devices` out."
            )
        if clash is not None:
            faults.append(document.fault(clash, "devices", place))
    return faults


def _find_adapter_faults(document: Document, data: Mapping[str, object]) -> list[Fault]:
    """Find adapters whose sources are none, and more of them than there is to be room for."""
    sources = cast("Mapping[str, str]", data.get("adapters", {}))
    found = {name: find_fault(source) for name, source in sources.items()}
    faults = [document.fault(fault, "adapters", name) for name, fault in found.items() if fault]
    most = data.get("max_adapters")
    if isinstance(most, int) and len(sources) > most:
        message = f"{len(sources)} adapters are named, but `max_adapters` is {most}."
        faults.append(document.fault(message, "adapters"))
    return faults


def _find_draft_faults(document: Document, data: Mapping[str, object]) -> list[Fault]:
    """Find a draft model whose source is none, and what is said of one that is not there."""
    source = draft_source(data)
    if source is not None:
        fault = find_fault(source)
        return [document.fault(fault, "speculation", "draft")] if fault else []
    if "tokens" in cast("Mapping[str, object]", data.get("speculation", {})):
        message = (
            "`tokens` says how many a draft model guesses, but there is no `draft`. Name one, or "
            "write `prompt_lookup`."
        )
        return [document.fault(message, "speculation", "tokens")]
    return []


def _invalid(document: Document, faults: list[Fault]) -> InvalidModel:
    name = document.data.get("name") if isinstance(document.data, dict) else None
    whose = f"Model {name!r}" if isinstance(name, str) else "The model file"
    count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return InvalidModel(f"{whose} has {count}: {faults[0]}", faults=faults)


def _replicas(data: Mapping[str, object]) -> ReplicaPolicy:
    value = data.get("replicas", 1)
    if isinstance(value, int):
        return ReplicaPolicy(min=value, max=value)
    said = cast("dict[str, int]", value)
    least = said.get("min", 1)
    return ReplicaPolicy(**{"max": least, **said})


def _queue(data: Mapping[str, object]) -> QueuePolicy:
    fields = cast("dict[str, int]", data.get("queue", {}))
    return QueuePolicy(**fields)  # type: ignore[arg-type]  # the schema has checked the types


def _deploy(
    kind: Kind, data: Mapping[str, object], devices: tuple[Device, ...], base: Path
) -> Deployment:
    batching = BatchPolicy(**cast("dict[str, int]", data.get("batching", {})))
    config = _config(kind, data, batching, base)
    source = config.get("source")
    has_weights = kind.has_files and isinstance(source, str)
    return Deployment(
        name=str(data["name"]),
        version=cast("int", data.get("version", 1)),
        kind=kind.name,
        factory=kind.factory,
        config=config,
        signature=kind.signature,
        devices=devices,
        replicas=_replicas(data),
        batching=batching,
        queue=_queue(data),
        params=cast("Mapping[str, object]", data.get("params", {})),
        session_paths=kind.session_paths(config),
        program=kind.program(config),
        threads=cast("int | None", data.get("threads")),
        load_timeout_s=cast("float | None", data.get("load_timeout_s")),
        step_timeout_s=cast("float | None", data.get("step_timeout_s")),
        estimated_bytes=estimate_bytes(config) if has_weights else 0,
        prepare=_FETCH if has_weights and _is_to_be_fetched(config) else "",
        is_inline=cast("bool", data.get("inline", kind.is_inline)),
    )


def _config(
    kind: Kind, data: Mapping[str, object], batching: BatchPolicy, base: Path
) -> dict[str, object]:
    """Give what the engine's factory gets: plain JSON values, with an absolute source."""
    config: dict[str, object] = {
        "name": data["name"],
        "version": data.get("version", 1),
        "dtype": data.get("dtype", "auto"),
        "compile": data.get("compile", "auto"),
        "warmup": data.get("warmup", True),
    }
    if "weights" in data:
        config["weights"] = data["weights"]
    config |= {name: data[name] for name in kind.fields if name in data}
    if batching.max_size is not None:
        config["max_size"] = batching.max_size
    source = data.get("source")
    if isinstance(source, str):
        config["source"] = _absolute(source, base)
    if "adapters" in config:
        sources = cast("Mapping[str, str]", config["adapters"])
        config["adapters"] = {name: _absolute(each, base) for name, each in sources.items()}
    draft = draft_source(config)
    return config if draft is None else with_draft_source(config, _absolute(draft, base))


def _is_to_be_fetched(config: Mapping[str, object]) -> bool:
    sources = (config["source"], draft_source(config))
    return any(str(source).startswith("hf://") for source in sources)


def _absolute(source: str, base: Path) -> str:
    return source if "://" in source else str((base / source).resolve())
