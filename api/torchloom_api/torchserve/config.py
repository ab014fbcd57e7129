# ruff: noqa: RUF009 - `_key` and `_unset` make fields, as `dataclasses.field` does
"""Config: every key of TorchServe's config.properties that means something here, frozen.

Field names are the keys. Knows no file: `config_loading` fills it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TypeVar, cast

from torchloom_api.torchserve import property_value as read
from torchloom_api.torchserve.listen_address import ListenAddress
from torchloom_api.torchserve.startup_model import StartupModels, parse_models


T = TypeVar("T")


def _key(reader: Callable[[str], T], default: str) -> T:
    """Make a field whose default is written as in a file."""
    return field(default=reader(default), metadata={"read": reader})


def _unset(reader: Callable[[str], T]) -> T | None:
    """Make a field that is None unless it is said."""
    return cast("T | None", field(default=None, metadata={"read": reader}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a config.properties decides, with TorchServe's names, units and defaults."""

    inference_address: ListenAddress = _key(read.read_address("inference"), "http://127.0.0.1:8080")
    management_address: ListenAddress = _key(
        read.read_address("management"), "http://127.0.0.1:8081"
    )
    metrics_address: ListenAddress = _key(read.read_address("metrics"), "http://127.0.0.1:8082")
    grpc_inference_address: str = _key(read.read_text, "127.0.0.1")
    grpc_management_address: str = _key(read.read_text, "127.0.0.1")
    grpc_inference_port: int = _key(read.read_port, "7070")
    grpc_management_port: int = _key(read.read_port, "7071")
    grpc_inference_max_connection_age_ms: int | None = _unset(read.read_positive)
    grpc_inference_max_connection_age_grace_ms: int | None = _unset(read.read_positive)
    grpc_management_max_connection_age_ms: int | None = _unset(read.read_positive)
    grpc_management_max_connection_age_grace_ms: int | None = _unset(read.read_positive)
    enable_grpc_ssl: bool = _key(read.read_bool, "false")

    load_models: str | None = _unset(read.read_text)
    model_store: str | None = _unset(read.read_text)
    workflow_store: str | None = _unset(read.read_text)
    models: StartupModels = field(
        default_factory=lambda: MappingProxyType({}), metadata={"read": parse_models}
    )
    #: 0: of models at the start, one for each GPU, or core; of registered ones none.
    default_workers_per_model: int = _key(read.read_count, "0")
    #: Seconds, as the next two.
    default_response_timeout: int = _key(read.read_positive, "120")
    default_startup_timeout: int = _key(read.read_positive, "120")
    unregister_model_timeout: int = _key(read.read_positive, "120")
    #: None: all there are.
    number_of_gpu: int | None = _unset(read.read_count)
    job_queue_size: int = _key(read.read_positive, "100")
    max_request_size: int = _key(read.read_count, "6553500")
    max_response_size: int = _key(read.read_count, "6553500")
    limit_max_image_pixels: bool = _key(read.read_bool, "true")
    decode_input_request: bool = _key(read.read_bool, "true")
    default_service_handler: str | None = _unset(read.read_text)
    service_envelope: str | None = _unset(read.read_text)
    install_py_dep_per_model: bool = _key(read.read_bool, "false")
    #: The number of the first worker: W-9000-….
    initial_worker_port: int = _key(read.read_port, "9000")
    blacklist_env_vars: re.Pattern[str] | None = _unset(read.read_pattern)
    #: What handlers find of these two in their environment; nothing else comes of them.
    ipex_enable: bool = _key(read.read_bool, "false")
    ipex_gpu_enable: bool = _key(read.read_bool, "false")
    #: The first port of distributed workers' rendezvous.
    initial_distribution_port: int = _key(read.read_port, "29500")

    metrics_config: str | None = _unset(read.read_text)
    metrics_mode: read.MetricsMode = _key(read.read_metrics_mode, "log")
    enable_metrics_api: bool = _key(read.read_bool, "true")
    model_metrics_auto_detect: bool = _key(read.read_bool, "false")
    disable_system_metrics: bool = _key(read.read_bool, "false")
    system_metrics_cmd: str = _key(read.read_text, "")
    #: Seconds.
    metric_time_interval: int = _key(read.read_positive, "60")

    cors_allowed_origin: str | None = _unset(read.read_text)
    cors_allowed_methods: str | None = _unset(read.read_text)
    cors_allowed_headers: str | None = _unset(read.read_text)
    keystore: str | None = _unset(read.read_text)
    keystore_pass: str = _key(read.read_text, "changeit")
    keystore_type: read.KeystoreType = _key(read.read_keystore_type, "PKCS12")
    certificate_file: str | None = _unset(read.read_text)
    private_key_file: str | None = _unset(read.read_text)
    allowed_urls: tuple[re.Pattern[str], ...] = _key(read.read_patterns, "file://.*|http(s)?://.*")
    use_env_allowed_urls: bool = _key(read.read_bool, "false")
    #: Minutes.
    token_expiration_min: float = _key(read.read_minutes, "60")
    disable_token_authorization: bool = _key(read.read_bool, "false")
    enable_model_api: bool = _key(read.read_bool, "false")
    enable_envvars_config: bool = _key(read.read_bool, "false")

    # TorchLoom's own, each for what TorchServe does in a way that somebody may rely on.
    queue_full_429: bool = _key(read.read_bool, "false")
    auth_401: bool = _key(read.read_bool, "false")
    ping_without_token: bool = _key(read.read_bool, "false")
    query_to_handlers: bool = _key(read.read_bool, "false")
    autoscale: bool = _key(read.read_bool, "false")

    ts_open_inference_protocol: bool = _key(read.read_oip, "false")
    ts_header_key_sequence_id: str = _key(read.read_header, "ts_request_sequence_id")
    ts_header_key_sequence_start: str = _key(read.read_header, "ts_request_sequence_start")
    ts_header_key_sequence_end: str = _key(read.read_header, "ts_request_sequence_end")
    #: What a snapshot holds, as JSON; see `snapshot`.
    model_snapshot: str | None = _unset(read.read_text)


#: Key → what reads its value.
READERS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {each.name: each.metadata["read"] for each in fields(Config)}
)

#: Keys that TorchServe has and that mean nothing here → why.
IDLE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "number_of_netty_threads": "one event loop serves all connections",
        "netty_client_threads": "one event loop talks to all workers",
        "prefer_direct_buffer": "there is no Java heap",
        "use_native_io": "there is no Netty",
        "io_ratio": "there is no Netty",
        "vmargs": "there is no Java",
        "async_logging": "logs are written by a thread of their own",
        "plugins_path": "plugins are Java's",
        "model_server_home": "the program knows where it is",
        "cpp_log_config": "there is no C++ backend",
        "cpu_launcher_enable": "workers are pinned to cores as they are",
        "cpu_launcher_args": "workers are pinned to cores as they are",
        "debug": "there is no debug mode",
        # What snapshots write beside the keys that were given.
        "python": "",
        "version": "",
        "tsConfigFile": "",
    }
)
