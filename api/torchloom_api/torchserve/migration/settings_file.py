"""The settings file: what of a config.properties is a setting of `torchloom serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torchloom_api.torchserve.config import READERS, Config
from torchloom_api.torchserve.listen_address import ListenAddress
from torchloom_api.torchserve.migration.note import Note


def _to_place(address: object) -> str | None:
    if not isinstance(address, ListenAddress) or address.scheme == "unix":
        return None
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


#: Key → the setting, and how its value is written there; None where it cannot be.
_CARRIED: Mapping[str, tuple[str, Callable[[object], object]]] = MappingProxyType(
    {
        "inference_address": ("inference", _to_place),
        "management_address": ("management", _to_place),
        "metrics_address": ("metrics", _to_place),
        "max_request_size": ("max_body_bytes", lambda value: value or None),
    }
)

#: Keys that model files and workflow files hold, or that say what is migrated.
_ELSEWHERE = frozenset(
    {
        *("model_store", "workflow_store", "load_models", "models", "model_snapshot"),
        *("default_workers_per_model", "job_queue_size", "limit_max_image_pixels"),
        *("default_service_handler", "service_envelope", "enable_envvars_config"),
        *("use_env_allowed_urls", "metrics_config", "install_py_dep_per_model"),
        *("default_response_timeout", "default_startup_timeout"),
        *("ts_header_key_sequence_id", "ts_header_key_sequence_start"),
        "ts_header_key_sequence_end",
    }
)

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "disable_token_authorization": "name keys in `api_keys`, or use none",
        "token_expiration_min": "keys of `api_keys` do not expire",
        "enable_model_api": "whoever has a key for management may register",
        "allowed_urls": "`sources` says where registered models may come from",
        "metrics_mode": "metrics are always at /metrics",
    }
)


def to_settings_file(
    config: Config, given: Mapping[str, str]
) -> tuple[dict[str, object], list[Note]]:
    """Write the settings that are said by `given` keys or TorchServe's ports, and note the rest."""
    settings: dict[str, object] = {}
    notes: list[Note] = []
    for key, (name, convert) in _CARRIED.items():
        value = convert(getattr(config, key))
        if value is not None:
            settings[name] = value
        else:
            notes.append(_lost(key, given.get(key, ""), "this has no counterpart"))
    if any(str(getattr(config, key)).startswith("https:") for key in _CARRIED):
        message = "https ends in front of TorchLoom: put a proxy with the certificate there."
        notes.append(Note(subject="config.properties", message=message))
    if config.install_py_dep_per_model:
        settings["install_requirements"] = True
    # What is no key, or means nothing, the configuration's own warnings name.
    for key in sorted(set(given) & set(READERS) - set(_CARRIED) - _ELSEWHERE):
        reason = _REASONS.get(key, "`torchloom serve` has no such setting")
        notes.append(_lost(key, given[key], reason))
    return settings, notes


def _lost(key: str, value: str, reason: str) -> Note:
    is_secret = "pass" in key
    said = f"`{key}={'…' if is_secret else value}`"
    message = f"{said} is not carried over: {reason}."
    return Note(subject="config.properties", message=message)
