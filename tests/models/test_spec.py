"""Model files become deployments, or all that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.device import Device
from torchloom.document import Document
from torchloom.errors import InvalidModel
from torchloom.policy import BatchPolicy, QueuePolicy, ReplicaPolicy
from torchloom_models.kind import KINDS
from torchloom_models.spec import parse_model


BASE = Path("/srv/models")

FULL = {
    "name": "llama",
    "version": 3,
    "kind": "llm",
    "source": "weights/llama",
    "dtype": "bfloat16",
    "devices": ["cpu", "cuda:0"],
    "compile": {"backend": "inductor", "buckets": [1, 4]},
    "replicas": {"min": 1, "max": 2},
    "batching": {"max_size": 16, "max_wait_s": 0.005},
    "queue": {"max_size": 100, "overflow": "wait"},
    "warmup": False,
    "params": {"max_tokens": 256},
    "threads": 2,
    "load_timeout_s": 120,
    "step_timeout_s": 0.5,
    "max_length": 512,
}


def faults_of(data: object) -> list[str]:
    """Give the messages of what is wrong with a model file."""
    with pytest.raises(InvalidModel) as caught:
        parse_model(Document(data=data, file="model.yaml"), base=BASE)
    return [fault.message for fault in caught.value.faults]


def test_lets_a_model_have_no_replica() -> None:
    """It is registered, and loaded when somebody gives it one."""
    data = {"name": "m", "kind": "llm", "source": "weights", "replicas": 0}

    assert parse_model(Document(data=data), base=BASE).replicas == ReplicaPolicy(min=0, max=0)


def test_reads_between_which_numbers_replicas_follow_the_load() -> None:
    """Times have defaults; `min` is one unless it is said, and `max` no less."""
    data = {"name": "m", "kind": "llm", "source": "weights"}

    def read(replicas: object) -> ReplicaPolicy:
        return parse_model(Document(data={**data, "replicas": replicas}), base=BASE).replicas

    assert read({"max": 4}) == ReplicaPolicy(min=1, max=4)
    assert read({"min": 2}) == ReplicaPolicy(min=2, max=2)
    assert read({"min": 0, "max": 2, "wait_s": 0.5, "idle_s": 60}) == ReplicaPolicy(
        min=0, max=2, wait_s=0.5, idle_s=60
    )


def test_reads_every_key() -> None:
    """Each key of a model file lands in its place in the deployment."""
    deployment = parse_model(Document(data=FULL), base=BASE)

    assert deployment.label == "llama@3"
    assert deployment.devices == (Device("cpu"), Device("cuda", "0"))
    assert deployment.replicas == ReplicaPolicy(min=1, max=2)
    assert deployment.batching == BatchPolicy(max_size=16, max_wait_s=0.005)
    assert deployment.queue == QueuePolicy(max_size=100, overflow="wait")
    assert deployment.params == {"max_tokens": 256}
    assert (deployment.load_timeout_s, deployment.step_timeout_s) == (120, 0.5)
    assert deployment.threads == 2
    assert deployment.config == {
        "name": "llama",
        "version": 3,
        "source": "/srv/models/weights/llama",
        "dtype": "bfloat16",
        "compile": {"backend": "inductor", "buckets": [1, 4]},
        "warmup": False,
        "max_length": 512,
        "max_size": 16,
    }


def test_has_a_default_for_every_key_that_may_be_left_out() -> None:
    """A name and a kind are enough."""
    deployment = parse_model(Document(data={"name": "m", "kind": "module"}), base=BASE)

    assert deployment.version == 1
    assert deployment.devices == (Device("auto"),)
    assert deployment.factory == KINDS["module"].factory


@pytest.mark.parametrize("source", ["hf://org/name@abc", "package://pkg/dir"])
def test_leaves_sources_that_are_no_paths_alone(source: str) -> None:
    """Only a path is taken relative to the file."""
    data = {"name": "m", "kind": "llm", "source": source}

    assert parse_model(Document(data=data), base=BASE).config["source"] == source


def test_gives_every_fault_at_once() -> None:
    """One answer names all that is to be mended."""
    faults = faults_of(
        {
            "name": "bad name",
            "kind": "llm",
            "source": "hf://org/name",
            "device": ["cpu"],
            "dtype": "float31",
            "batching": {"max_size": 0},
            "params": {"temp": 1},
        }
    )

    assert len(faults) == 6
    assert any("revision" in fault for fault in faults)
    assert any("'devices'" in fault for fault in faults)
    assert any("'temp'" in fault for fault in faults)


def test_says_where_a_fault_is() -> None:
    """A fault has the line and column of its value."""
    document = Document(
        data={"name": "m", "kind": "module", "dtype": "float31"},
        file="m.yaml",
        marks={"/dtype": (3, 8)},
    )

    with pytest.raises(InvalidModel) as caught:
        parse_model(document, base=BASE)

    (fault,) = caught.value.faults
    assert (fault.file, fault.line, fault.column) == ("m.yaml", 3, 8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "mapping"),
        ({"name": "m"}, "'kind' is missing"),
        ({"name": "m", "kind": "lm"}, "'llm'"),
        ({"name": "m", "kind": "oracle"}, "diffusion, embedder, function, handler, index, llm"),
        ({"kind": "llm"}, "'name' is missing"),
        ({"name": "m", "kind": "embedder"}, "'source' is missing"),
        ({"name": "m", "kind": "module", "source": "s3://bucket"}, "the sort 's3'"),
        ({"name": "m", "kind": "function"}, "'function' is missing"),
        ({"name": "m", "kind": "llm", "devices": ["gpu"]}, "'gpu'"),
        ({"name": "m", "kind": "llm", "devices": ["cpu", "cpu"]}, "named twice"),
        ({"name": "m", "kind": "llm", "replicas": {"min": 3, "max": 1}}, "below"),
        ({"name": "m", "kind": "llm", "replicas": {"min": 3, "max": 0}}, "1 or more"),
        ({"name": "m", "kind": "llm", "replicas": {"min": -1}}, "0 or more"),
        ({"name": "m", "kind": "llm", "replicas": {"min": "one"}}, "'min' must be a whole number"),
        ({"name": "m", "kind": "llm", "replicas": {"mni": 1}}, "Did you mean 'min'"),
        ({"name": "m", "kind": "llm", "replicas": {"wait_s": -1}}, "0 or more"),
        ({"name": "m", "kind": "llm", "replicas": {"idle_s": 0}}, "more than 0"),
        ({"name": "m", "kind": "llm", "replicas": "many"}, "a whole number or a mapping"),
        ({"name": "m", "kind": "llm", "inline": True}, "cannot be inline"),
    ],
)
def test_refuses_what_cannot_work(data: object, words: str) -> None:
    """Each refusal says what is wrong and how to mend it."""
    assert words in " ".join(faults_of(data))


@pytest.mark.parametrize("device", ["cuda:1", "openvino:GPU"])
def test_refuses_devices_that_a_kind_does_not_run_on(device: str) -> None:
    """Python functions and indexes run on the CPU; whoever names another device is told at once."""
    function = {"name": "m", "kind": "function", "function": "a:b"}
    index = {"name": "m", "kind": "index", "source": "a/b"}
    for model in (function, index):
        (fault,) = faults_of({**model, "devices": ["cpu", device]})
        assert f"of kind '{model['kind']}' run on the CPU, not on '{device}'" in fault
        assert parse_model(Document(data={**model, "devices": ["cpu"]}), base=BASE)


def test_reports_devices_that_cannot_run_what_is_asked_for() -> None:
    """What OpenVINO is needed for, and what it cannot do, is told before anything loads."""
    model = {"name": "m", "kind": "module", "class": "a:B"}

    assert (
        "'openvino:CPU' runs what OpenVINO"
        in faults_of({**model, "devices": ["openvino"], "compile": "eager"})[0]
    )
    (fault,) = faults_of({**model, "devices": ["openvino:CPU", "cpu"], "weights": "int8"})
    assert "int8 weights are for OpenVINO's devices, not for 'cpu'" in fault
    data = {**model, "devices": ["openvino"], "compile": "openvino", "weights": "int4"}
    deployment = parse_model(Document(data=data), base=BASE)
    assert deployment.devices == (Device("openvino", "CPU"),)
    assert deployment.config["weights"] == "int4"


LLM = {"name": "llama", "kind": "llm", "source": "llama"}


def test_reads_adapters() -> None:
    """Their paths are relative to the file, as the model's is."""
    adapters = {"support": "loras/support", "legal": "hf://org/legal@main"}
    data = {**LLM, "adapters": adapters, "max_adapters": 2, "lora_modules": ["q_proj"]}
    config = parse_model(Document(data=data), base=BASE).config

    assert config["adapters"] == {
        "support": "/srv/models/loras/support",
        "legal": "hf://org/legal@main",
    }
    assert (config["max_adapters"], config["lora_modules"]) == (2, ["q_proj"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"adapters": {"legal": "hf://org/legal"}}, "names no revision"),
        ({"adapters": {"a": "x", "b": "y"}, "max_adapters": 1}, "2 adapters are named"),
        ({"adapters": {"a:b": "x"}}, "An adapter's name is made of letters"),
        ({"adapters": {"a": 3}}, "'a' must be a string"),
        ({"max_lora_rank": 0}, "max_lora_rank"),
        ({"max_lora_ranks": 8}, "max_lora_rank"),
        ({"lora_modules": "q_proj"}, "'q_proj' is not one of 'all-linear'"),
    ],
)
def test_refuses_adapters_that_cannot_work(values: dict[str, object], words: str) -> None:
    """Before anything is loaded."""
    faults = faults_of({**LLM, **values})

    assert any(words in fault for fault in faults), faults


def test_lets_language_models_alone_have_adapters() -> None:
    """Other kinds do not know the key."""
    faults = faults_of({"name": "m", "kind": "embedder", "source": "m", "adapters": {}})

    assert any("adapters" in fault for fault in faults), faults


def test_reads_a_draft_model() -> None:
    """Its path is relative to the file, as the model's is; what is on the hub is fetched before."""
    for draft, wanted in (("small", "/srv/models/small"), ("hf://org/small@main",) * 2):
        speculation = {"draft": draft, "tokens": 5, "prompt_lookup": 8}
        deployment = parse_model(Document(data={**LLM, "speculation": speculation}), base=BASE)

        assert deployment.config["speculation"] == {**speculation, "draft": wanted}
        assert bool(deployment.prepare) == wanted.startswith("hf://")


@pytest.mark.parametrize(
    ("speculation", "words"),
    [
        ({}, "at least 1 entry"),
        ({"draft": "hf://org/name"}, "names no revision"),
        ({"draft": ""}, "at least 1 character"),
        ({"draft": "small", "tokens": 0}, "1 or more"),
        ({"draft": "small", "tokens": 33}, "32 or less"),
        ({"tokens": 5}, "there is no `draft`"),
        ({"prompt_lookup": 8, "tokens": 5}, "there is no `draft`"),
        ({"prompt_lookups": 8}, "prompt_lookup"),
    ],
)
def test_refuses_guesses_that_cannot_work(speculation: dict[str, object], words: str) -> None:
    """Before anything is loaded."""
    faults = faults_of({**LLM, "speculation": speculation})

    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("kv_cache", "says"),
    [
        ({}, "at least 1 entry"),
        ({"tokens": 0}, "1 or more"),
        ({"tokens": 5, "memory": 5}, "at most 1 entry"),
        ({"token": 5}, "Did you mean 'tokens'?"),
        ({"memory": "2 apples"}, "2GiB"),
        (65536, "must be a mapping"),
    ],
)
def test_refuses_a_cache_of_no_size(kv_cache: object, says: str) -> None:
    """`kv_cache` is a number of tokens or an amount of memory, and one alone."""
    data = {"name": "m", "kind": "llm", "source": "weights", "kv_cache": kv_cache}
    assert any(says in message for message in faults_of(data)), faults_of(data)


def test_counts_a_cache_that_is_set_aside(tmp_path: Path) -> None:
    """What `kv_cache` asks for is part of what the model is expected to hold."""
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    data = {"name": "m", "kind": "llm", "source": str(tmp_path), "kv_cache": {"memory": "1GiB"}}

    deployment = parse_model(Document(data=data), base=BASE)

    assert deployment.estimated_bytes == 5 + (1 << 30)
    assert deployment.config["kv_cache"] == {"memory": "1GiB"}
