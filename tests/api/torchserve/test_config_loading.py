"""config.properties, command line and environment to one frozen Config."""

from __future__ import annotations

import pytest

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.config import IDLE_KEYS, READERS, Config
from torchloom_api.torchserve.config_loading import load_config


EVERY = r"""
inference_address=http://0.0.0.0:8085
management_address : https://0.0.0.0
metrics_address http\://127.0.0.1\:8087
grpc_inference_address=0.0.0.0
grpc_management_address=0.0.0.0
grpc_inference_port=7075
grpc_management_port=7076
grpc_inference_max_connection_age_ms=1
grpc_inference_max_connection_age_grace_ms=2
grpc_management_max_connection_age_ms=3
grpc_management_max_connection_age_grace_ms=4
enable_grpc_ssl=true
load_models=a.mar,b=c.mar
model_store=/models
workflow_store=/workflows
models={\
  "noop": {\
    "1.0": {\
        "defaultVersion": true,\
        "marName": "noop.mar",\
        "minWorkers": 1,\
        "maxWorkers": "2",\
        "batchSize": 4,\
        "maxBatchDelay": 100,\
        "responseTimeout": 120\
    }\
  }\
}
default_workers_per_model=2
default_response_timeout=30
default_startup_timeout=31
unregister_model_timeout=32
number_of_gpu=1
job_queue_size=7
max_request_size=1000
max_response_size=2000
limit_max_image_pixels=false
decode_input_request=FALSE
default_service_handler=h.py:handle
service_envelope=kserve
install_py_dep_per_model=true
initial_worker_port=9500
blacklist_env_vars=.*SECRET.*
ipex_enable=true
ipex_gpu_enable=true
initial_distribution_port=1234
metrics_config=/m.yaml
metrics_mode=Prometheus
enable_metrics_api=false
model_metrics_auto_detect=true
disable_system_metrics=true
system_metrics_cmd=cmd
metric_time_interval=5
cors_allowed_origin=*
cors_allowed_methods=GET, POST
cors_allowed_headers=X-A
keystore=k.p12
keystore_pass=secret
keystore_type=jks
certificate_file=c.pem
private_key_file=k.pem
allowed_urls=https://a/.*, file:///models/.*
use_env_allowed_urls=false
token_expiration_min=0.5
disable_token_authorization=true
enable_model_api=true
enable_envvars_config=false
queue_full_429=true
auth_401=true
ping_without_token=true
query_to_handlers=true
autoscale=true
ts_open_inference_protocol=oip
ts_header_key_sequence_id=a
ts_header_key_sequence_start=b
ts_header_key_sequence_end=c
model_snapshot={}
"""


def _load(text: str = "", **environment: str) -> Config:
    return load_config(text, environment=environment).config


def test_reads_every_key() -> None:
    """Each key has a type of its own; none is left at its default here, none is unknown."""
    loaded = load_config(EVERY)
    assert loaded.warnings == ()
    assert set(loaded.given) == set(READERS)
    config, default = loaded.config, Config()
    same = {key for key in READERS if getattr(config, key) == getattr(default, key)}
    assert same == {"use_env_allowed_urls", "enable_envvars_config"}
    assert str(config.management_address) == "https://0.0.0.0:8444"
    model = config.models["noop"]["1.0"]
    assert (model.mar_name, model.max_workers, model.startup_timeout) == ("noop.mar", 2, None)
    assert config.metrics_mode == "prometheus"
    assert config.keystore_type == "JKS"
    assert config.token_expiration_min == 0.5
    assert [pattern.pattern for pattern in config.allowed_urls] == [
        "https://a/.*",
        "file:///models/.*",
    ]


def test_has_torchserves_defaults() -> None:
    """An empty file is TorchServe as it comes out of the box."""
    config = _load()
    assert config == Config()
    addresses = (config.inference_address, config.management_address, config.metrics_address)
    assert [str(each) for each in addresses] == [
        f"http://127.0.0.1:{port}" for port in (8080, 8081, 8082)
    ]
    assert (config.grpc_inference_port, config.grpc_management_port) == (7070, 7071)
    assert (config.job_queue_size, config.max_request_size) == (100, 6_553_500)
    assert (config.default_response_timeout, config.metrics_mode) == (120, "log")
    assert not config.disable_token_authorization
    assert not config.enable_model_api
    assert config.allowed_urls[0].fullmatch("HTTPS://a/b")
    assert config.allowed_urls[0].fullmatch("s3://a/b") is None


def test_puts_variables_in() -> None:
    """`$$NAME$$` is replaced, anywhere in a value."""
    config = _load("model_store=$$HOME_A$$/models/$$B$$", HOME_A="/a", B="b")
    assert config.model_store == "/a/models/b"


def test_misses_a_variable_that_is_not_set() -> None:
    """The words are TorchServe's; the place is added."""
    with pytest.raises(InvalidSettings) as caught:
        load_config("\nmodel_store=$$NOPE$$", file="c.properties")
    (fault,) = caught.value.faults
    assert str(fault) == "c.properties:2: Invalid Environment Variable NOPE: it is not set."


def test_lets_the_command_line_win_over_the_file() -> None:
    """What was typed counts more than what is written."""
    loaded = load_config("model_store=/a\njob_queue_size=5", arguments={"model_store": "/b"})
    assert loaded.config.model_store == "/b"
    assert loaded.given == {"model_store": "/b", "job_queue_size": "5"}


def test_asks_the_environment_only_where_the_file_says_so() -> None:
    """TS_ variables win over all, but only with enable_envvars_config in the file."""
    variables = {"TS_MODEL_STORE": "/c", "TS_DISABLE_TOKEN_AUTHORIZATION": "true"}
    arguments = {"model_store": "/b"}
    without = load_config("", arguments=arguments, environment=variables).config
    assert (without.model_store, without.disable_token_authorization) == ("/b", False)
    text = "enable_envvars_config=true\nmodel_store=/a"
    config = load_config(text, arguments=arguments, environment=variables).config
    assert (config.model_store, config.disable_token_authorization) == ("/c", True)


def test_does_not_switch_the_environment_on_from_the_environment() -> None:
    """TS_ENABLE_ENVVARS_CONFIG alone does nothing."""
    config = _load("", TS_ENABLE_ENVVARS_CONFIG="true", TS_JOB_QUEUE_SIZE="5")
    assert config.job_queue_size == 100


def test_takes_some_variables_always() -> None:
    """The open inference protocol and the names of sequence headers need no switch."""
    config = _load("", TS_OPEN_INFERENCE_PROTOCOL="oip", TS_REQUEST_SEQUENCE_ID="x")
    assert config.ts_open_inference_protocol
    assert config.ts_header_key_sequence_id == "x"


def test_takes_allowed_urls_from_the_environment() -> None:
    """use_env_allowed_urls has a switch of its own."""
    text = "use_env_allowed_urls=true\nallowed_urls=a"
    assert [p.pattern for p in _load(text, TS_ALLOWED_URLS="b,c").allowed_urls] == ["b", "c"]
    assert [p.pattern for p in _load(text).allowed_urls] == ["a"]


def test_warns_of_unknown_keys_with_the_nearest() -> None:
    """An unknown key does not keep the server from starting: TorchServe takes it too."""
    loaded = load_config("modle_store=/a\nfoo_bar_baz=1", file="c.properties")
    assert loaded.warnings == (
        "c.properties:1: there is no key 'modle_store'. Did you mean 'model_store'?",
        "c.properties:2: there is no key 'foo_bar_baz'.",
    )


def test_names_keys_without_meaning_once() -> None:
    """Keys of Java and Netty are passed over, in one warning with the reasons."""
    loaded = load_config("vmargs=-Xmx1g\nio_ratio=50\nnumber_of_netty_threads=32\nversion=0.12.0")
    (warning,) = loaded.warnings
    assert "io_ratio (there is no Netty)" in warning
    assert "vmargs (there is no Java)" in warning
    assert "version" not in warning
    assert set(IDLE_KEYS).isdisjoint(READERS)


def test_warns_of_a_key_that_comes_twice() -> None:
    """As in Java the later wins; here one is told."""
    loaded = load_config("job_queue_size=1\n\njob_queue_size=2", file="c")
    assert loaded.config.job_queue_size == 2
    assert loaded.warnings == ("c:3: 'job_queue_size' stands on line 1 too.",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("job_queue_size=abc", "job_queue_size: 'abc' is no whole number."),
        ("job_queue_size=0", "job_queue_size: '0' is below 1."),
        ("max_request_size=-5", "max_request_size: '-5' is below 0."),
        ("max_request_size=9999999999", "max_request_size: '9999999999' is beyond 2147483647."),
        ("grpc_inference_port=70000", "grpc_inference_port: '70000' is no port"),
        ("enable_model_api=yes", "enable_model_api: 'yes' is neither true nor false."),
        (
            "metrics_mode=prometeus",
            "metrics_mode: 'prometeus' is not known. Did you mean 'prometheus'",
        ),
        ("keystore_type=pem", "keystore_type: 'pem' is not known. Known: JKS, PKCS12."),
        ("token_expiration_min=0", "token_expiration_min: '0' is not above 0."),
        ("token_expiration_min=nan", "token_expiration_min: 'nan' is not above 0."),
        ("token_expiration_min=x", "token_expiration_min: 'x' is no number."),
        ("allowed_urls=[", "allowed_urls: '[' is no regular expression"),
        ("inference_address=ftp://x:1", "inference_address: Invalid binding address: ftp://x:1."),
        (
            "ts_header_key_sequence_id=a b",
            "ts_header_key_sequence_id: 'a b' is no name of a header.",
        ),
        ("ts_header_key_sequence_end=", "ts_header_key_sequence_end: '' is no name of a header."),
        ("models={bad", "models: This is no JSON"),
        ('models={"m": {"1": {"batchSize": []}}}', "models: Expected `int | null`"),
        ('models={"m": {"1": {"marName": "a", "batchSize": "x"}}}', "models: Expected `int"),
    ],
)
def test_refuses_a_bad_value_with_its_place(line: str, says: str) -> None:
    """The error names file, line and key, and what is wrong."""
    with pytest.raises(InvalidSettings) as caught:
        load_config(f"# first\n{line}", file="c.properties")
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"c.properties:2: {says}")
    assert str(fault) in caught.value.message


def test_tells_all_faults_at_once() -> None:
    """One start tells all that is wrong, whether in the file or outside of it."""
    with pytest.raises(InvalidSettings, match="has 3 faults") as caught:
        load_config(
            "enable_envvars_config=true\njob_queue_size=x\nmodel_store=$$NOPE$$",
            file="c",
            environment={"TS_ENABLE_METRICS_API": "on"},
        )
    assert [str(fault) for fault in caught.value.faults] == [
        "c:3: Invalid Environment Variable NOPE: it is not set.",
        "c:2: job_queue_size: 'x' is no whole number.",
        "TS_ENABLE_METRICS_API: enable_metrics_api: 'on' is neither true nor false.",
    ]


def test_points_at_text_that_is_no_properties_file() -> None:
    """What cannot be read at all has its line too."""
    with pytest.raises(InvalidSettings, match=r"c:2: Malformed"):
        load_config("a=1\nb=\\u1", file="c")
