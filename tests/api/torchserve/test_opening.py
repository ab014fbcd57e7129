"""What the command line and `config.properties` say becomes what the API works with."""

from __future__ import annotations

from pathlib import Path

from torchloom_api.settings import Address
from torchloom_api.torchserve.config_loading import load_config
from torchloom_api.torchserve.frontend_settings import FrontendSettings, GrpcPort
from torchloom_api.torchserve.opening import to_frontend_settings
from torchloom_api.torchserve.settings import TorchServeSettings
from torchloom_models.archive.sequence_headers import SequenceHeaders


def _open(text: str = "", **environment: str) -> FrontendSettings:
    loaded = load_config(text, environment=environment)
    return to_frontend_settings(
        TorchServeSettings(
            config=loaded.config,
            given=loaded.given,
            model_store=Path("/models"),
            workflow_store=Path("/models"),
            log_location=Path("/logs"),
            metrics_location=Path("/logs"),
            key_file=Path("/here/key_file.json"),
        )
    )


def test_has_torchserves_ports_of_grpc() -> None:
    """Where nothing is said; there connections last, in the clear."""
    settings = _open()

    assert settings.grpc_inference == GrpcPort(at=Address("127.0.0.1", 7070))
    assert settings.grpc_management == GrpcPort(at=Address("127.0.0.1", 7071))
    assert not settings.enable_grpc_ssl


def test_reads_the_ports_of_grpc() -> None:
    """From the file and, where that allows it, the environment; times become seconds."""
    settings = _open(
        "grpc_inference_address=0.0.0.0\n"
        "grpc_inference_max_connection_age_ms=1500\n"
        "grpc_inference_max_connection_age_grace_ms=250\n"
        "enable_envvars_config=true\n",
        TS_GRPC_MANAGEMENT_PORT="9071",
    )

    assert settings.grpc_inference == GrpcPort(
        at=Address("0.0.0.0", 7070),
        max_age_s=1.5,
        grace_s=0.25,
    )
    assert settings.grpc_management.at.port == 9071


def test_lets_grpc_speak_tls() -> None:
    """Where it is asked for."""
    assert _open("enable_grpc_ssl=true\n").enable_grpc_ssl


def test_reads_what_workers_are_called_and_do_not_see() -> None:
    """The number of the first, and the names of variables."""
    settings = _open("initial_worker_port=9500\nblacklist_env_vars=.*SECRET.*\n")

    assert settings.initial_worker_port == 9500
    assert settings.blacklist_env_vars is not None
    assert settings.blacklist_env_vars.pattern == ".*SECRET.*"
    assert _open().initial_worker_port == 9000


def test_tells_workers_what_handlers_look_for() -> None:
    """Keys that TorchServe puts into their environment."""
    assert _open("ipex_enable=true\ndecode_input_request=false\n").worker_variables == {
        "TS_DECODE_INPUT_REQUEST": "false",
        "TS_IPEX_ENABLE": "true",
        "TS_IPEX_GPU_ENABLE": "false",
    }


def test_names_the_headers_of_sequences() -> None:
    """As the file or, always, the environment says."""
    settings = _open("ts_header_key_sequence_id=x-id\n", TS_REQUEST_SEQUENCE_END="x-end")

    assert settings.sequence_headers == SequenceHeaders(id="x-id", end="x-end")
    assert _open().sequence_headers == SequenceHeaders()
