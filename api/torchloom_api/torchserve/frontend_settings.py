"""FrontendSettings: what `config.properties` and the command line of TorchServe decide, frozen.

Names are TorchServe's; times are in seconds. Reads no file. What is not TorchServe's own, because
it makes an old behaviour better for those who ask for it, stands at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torchloom_api.settings import Address, InvalidSettings
from torchloom_models.archive.sequence_headers import SequenceHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcPort:
    """Where one of the ports of gRPC listens.

    A connection of `max_age_s` takes no new calls, and is cut `grace_s` later; None: never.
    """

    at: Address
    max_age_s: float | None = None
    grace_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupVersion:
    """One version of a model in the property `models`; None: as the archive says, or the server."""

    file: str
    is_default: bool = False
    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSettings:
    """What an operator of TorchServe decides. Addresses: `http://HOST:PORT`, HOST:PORT, `unix:…`.

    `load_models`: names in the model store, `NAME=FILE`, or the word `all`.
    """

    inference_address: str = "http://127.0.0.1:8080"
    management_address: str = "http://127.0.0.1:8081"
    metrics_address: str = "http://127.0.0.1:8082"
    grpc_inference: GrpcPort = GrpcPort(at=Address("127.0.0.1", 7070))
    grpc_management: GrpcPort = GrpcPort(at=Address("127.0.0.1", 7071))
    enable_grpc_ssl: bool = False
    model_store: Path | None = None
    workflow_store: Path | None = None
    load_models: tuple[str, ...] = ()
    models: Mapping[str, Mapping[str, StartupVersion]] = field(default_factory=dict)
    #: What a snapshot holds; where there is one, `load_models` is not looked at.
    restored: Mapping[str, Mapping[str, StartupVersion]] | None = None

    #: 0: of models at the start, one for each GPU, or core; of registered ones none.
    default_workers_per_model: int = 0
    #: None: all there are.
    number_of_gpu: int | None = None
    default_response_timeout_s: int = 120
    default_startup_timeout_s: int = 120
    unregister_model_timeout_s: int = 120
    job_queue_size: int = 100
    initial_worker_port: int = 9000
    default_service_handler: str | None = None
    service_envelope: str | None = None
    limit_max_image_pixels: bool = True
    #: Install what archives list as their requirements, for each model by itself.
    install_py_dep_per_model: bool = False
    #: Names of variables that workers do not see: those that it matches as a whole.
    blacklist_env_vars: re.Pattern[str] | None = None
    #: Variables that workers have besides.
    worker_variables: Mapping[str, str] = field(default_factory=dict)
    #: Which headers tell of sequences.
    sequence_headers: SequenceHeaders = field(default_factory=SequenceHeaders)
    decode_input_request: bool = True
    max_request_size: int = 6_553_500
    max_response_size: int = 6_553_500

    #: For addresses with https: PEM files, or a keystore; without either a certificate is made.
    private_key_file: str | None = None
    certificate_file: str | None = None
    keystore: str | None = None
    keystore_pass: str = field(default="changeit", repr=False)
    keystore_type: Literal["PKCS12", "JKS"] = "PKCS12"

    allowed_urls: tuple[str, ...] = (r"file://.*|http(s)?://.*",)
    enable_model_api: bool = False
    disable_token_authorization: bool = False
    token_expiration_min: float = 60.0
    key_file: Path = Path("key_file.json")
    cors_allowed_origin: str | None = None
    cors_allowed_methods: str | None = None
    cors_allowed_headers: str | None = None
    enable_metrics_api: bool = True
    metrics_mode: Literal["log", "prometheus", "legacy"] = "log"
    metrics_config: Path | None = None
    model_metrics_auto_detect: bool = False
    disable_system_metrics: bool = False
    system_metrics_cmd: str = ""
    metric_time_interval_s: float = 60.0
    #: Folders of the log files. None: there are none, and the process's logs are left alone.
    log_location: Path | None = None
    metrics_location: Path | None = None
    log_config: Path | None = None
    #: Whether what is logged is printed as well.
    logs_to_console: bool = False
    ts_open_inference_protocol: bool = False

    #: TorchLoom's own store: native registrations, compiled artefacts, unpacked archives.
    store: str = ".torchloom"
    #: Answer 429 with Retry-After where a model's queue is full, not 503.
    queue_full_429: bool = False
    #: Answer a missing or wrong token by 401, not 400.
    auth_401: bool = False
    #: Let `/ping` be asked without a token.
    ping_without_token: bool = False
    #: Give the query of `/predictions` and `/explanations` to handlers, as other routes do.
    query_to_handlers: bool = False
    #: Let the number of a model's workers follow the load, from its least to its most.
    autoscale: bool = False
    #: How long a server that is told to end works on what it has accepted.
    grace_s: float = 30.0

    def check(self) -> None:
        """Refuse what cannot work. Raises InvalidSettings."""
        for name in ("job_queue_size", "max_request_size", "max_response_size"):
            if getattr(self, name) < 1:
                message = f"The property {name!r} must be above 0, not {getattr(self, name)}."
                raise InvalidSettings(message)
