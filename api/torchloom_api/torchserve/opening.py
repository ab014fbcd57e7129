"""Opening: what the command line and `config.properties` say becomes what the API works with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torchloom_api.settings import Address
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.frontend_settings import (
    FrontendSettings,
    GrpcPort,
    StartupVersion,
)
from torchloom_api.torchserve.settings import TorchServeSettings
from torchloom_api.torchserve.startup_model import StartupModels
from torchloom_models.archive.sequence_headers import SequenceHeaders


def to_frontend_settings(settings: TorchServeSettings) -> FrontendSettings:
    """Give the settings of the frontend."""
    config = settings.config
    restored = None if settings.restored is None else _versions(settings.restored.models)
    named = [f"{m.name}={m.location}" if m.name else m.location for m in settings.models]
    return FrontendSettings(
        inference_address=str(config.inference_address),
        management_address=str(config.management_address),
        metrics_address=str(config.metrics_address),
        grpc_inference=GrpcPort(
            at=Address(config.grpc_inference_address, config.grpc_inference_port),
            max_age_s=_seconds(config.grpc_inference_max_connection_age_ms),
            grace_s=_seconds(config.grpc_inference_max_connection_age_grace_ms),
        ),
        grpc_management=GrpcPort(
            at=Address(config.grpc_management_address, config.grpc_management_port),
            max_age_s=_seconds(config.grpc_management_max_connection_age_ms),
            grace_s=_seconds(config.grpc_management_max_connection_age_grace_ms),
        ),
        enable_grpc_ssl=config.enable_grpc_ssl,
        model_store=settings.model_store,
        workflow_store=settings.workflow_store,
        load_models=("all",) if settings.loads_all else tuple(named),
        models=_versions(config.models),
        restored=restored,
        default_workers_per_model=config.default_workers_per_model,
        number_of_gpu=config.number_of_gpu,
        default_response_timeout_s=config.default_response_timeout,
        default_startup_timeout_s=config.default_startup_timeout,
        unregister_model_timeout_s=config.unregister_model_timeout,
        job_queue_size=config.job_queue_size,
        default_service_handler=config.default_service_handler,
        service_envelope=config.service_envelope,
        limit_max_image_pixels=config.limit_max_image_pixels,
        install_py_dep_per_model=config.install_py_dep_per_model,
        blacklist_env_vars=config.blacklist_env_vars,
        worker_variables=_worker_variables(config),
        initial_worker_port=config.initial_worker_port,
        sequence_headers=SequenceHeaders(
            id=config.ts_header_key_sequence_id,
            start=config.ts_header_key_sequence_start,
            end=config.ts_header_key_sequence_end,
        ),
        decode_input_request=config.decode_input_request,
        max_request_size=config.max_request_size,
        max_response_size=config.max_response_size,
        private_key_file=config.private_key_file,
        certificate_file=config.certificate_file,
        keystore=config.keystore,
        keystore_pass=config.keystore_pass,
        keystore_type=config.keystore_type,
        allowed_urls=tuple(each.pattern for each in config.allowed_urls),
        enable_model_api=config.enable_model_api,
        disable_token_authorization=config.disable_token_authorization,
        token_expiration_min=config.token_expiration_min,
        key_file=settings.key_file,
        cors_allowed_origin=config.cors_allowed_origin,
        cors_allowed_methods=config.cors_allowed_methods,
        cors_allowed_headers=config.cors_allowed_headers,
        enable_metrics_api=config.enable_metrics_api,
        metrics_mode=config.metrics_mode,
        metrics_config=Path(config.metrics_config) if config.metrics_config else None,
        model_metrics_auto_detect=config.model_metrics_auto_detect,
        disable_system_metrics=config.disable_system_metrics,
        system_metrics_cmd=config.system_metrics_cmd,
        metric_time_interval_s=config.metric_time_interval,
        log_location=settings.log_location,
        metrics_location=settings.metrics_location,
        log_config=settings.log_config,
        logs_to_console=True,
        ts_open_inference_protocol=config.ts_open_inference_protocol,
        queue_full_429=config.queue_full_429,
        auth_401=config.auth_401,
        ping_without_token=config.ping_without_token,
        query_to_handlers=config.query_to_handlers,
        autoscale=config.autoscale,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _versions(models: StartupModels) -> Mapping[str, Mapping[str, StartupVersion]]:
    return {
        name: {
            version: StartupVersion(
                file=said.mar_name,
                is_default=said.default_version,
                min_workers=said.min_workers,
                max_workers=said.max_workers,
                batch_size=said.batch_size,
                max_batch_delay_ms=said.max_batch_delay,
                response_timeout_s=said.response_timeout,
                startup_timeout_s=said.startup_timeout,
            )
            for version, said in versions.items()
        }
        for name, versions in models.items()
    }


def _worker_variables(config: Config) -> dict[str, str]:
    """Give what TorchServe tells handlers of its own keys, as it writes them."""
    told = {
        "TS_DECODE_INPUT_REQUEST": config.decode_input_request,
        "TS_IPEX_ENABLE": config.ipex_enable,
        "TS_IPEX_GPU_ENABLE": config.ipex_gpu_enable,
    }
    return {name: str(value).lower() for name, value in told.items()}
