"""vLLM's engine arguments in the words of a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from torchloom.document import Document
from torchloom.errors import InvalidModel
from torchloom_models.archive.llm.translation import Translation
from torchloom_models.archive.llm.vllm_setting import translate_vllm
from torchloom_models.spec import parse_model


def translate(num_adapters: int = 0, **config: object) -> Translation:
    """Translate, for an archive with so many adapters."""
    return translate_vllm(config, num_adapters=num_adapters, whose="'m.mar'")


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"max_model_len": 250, "max_num_seqs": 16}, {"max_length": 250, "max_sequences": 16}),
        ({"max_model_len": None, "dtype": None}, {}),
        ({"dtype": "half"}, {"dtype": "float16"}),
        ({"dtype": "float"}, {"dtype": "float32"}),
        ({"dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ({"dtype": "auto"}, {"dtype": "auto"}),
        ({"enable_prefix_caching": False}, {"prefix_cache": False}),
        ({"enforce_eager": True}, {"compile": "eager"}),
        ({"enforce_eager": False}, {}),
        ({"enable_lora": True}, {"adapters": {}}),
        (
            {"enable_lora": True, "max_loras": 4, "max_lora_rank": 64},
            {"adapters": {}, "max_adapters": 4, "max_lora_rank": 64},
        ),
        ({"enable_lora": False, "max_loras": 4, "max_lora_rank": 64}, {}),
        (
            {"speculative_model": "[ngram]", "num_speculative_tokens": 5},
            {"speculation": {"prompt_lookup": 5}},
        ),
        (
            {"speculative_model": "org/small", "num_speculative_tokens": 50},
            {"speculation": {"draft": "org/small", "tokens": 32}},
        ),
        ({"model": "a", "tokenizer": "a", "load_format": "safetensors"}, {}),
        ({"model": "a", "revision": "b", "served_model_name": "c", "download_dir": "d"}, {}),
    ],
)
def test_translates_what_there_is(said: Mapping[str, object], fields: object) -> None:
    """Without a note, since all of it counts, or says what is so anyhow."""
    made = translate(**said)

    assert made.fields == fields
    assert made.notes == []


def test_makes_room_for_all_adapters_that_are_named() -> None:
    """In vLLM `max_loras` are held at once, and others aside; here all that are named are held."""
    assert translate(3, max_loras=1).fields == {"adapters": {}, "max_adapters": 3}
    assert translate(1).fields == {"adapters": {}}


def test_makes_keys_that_a_model_file_may_have(tmp_path: Path) -> None:
    """All at once they pass the checks."""
    made = translate(
        enable_lora=True,
        max_loras=2,
        max_lora_rank=8,
        max_model_len=64,
        max_num_seqs=256,
        dtype="half",
        enforce_eager=True,
        enable_prefix_caching=True,
        speculative_model="[ngram]",
    )
    data = {"name": "m", "kind": "llm", "source": "a", **made.fields}

    assert parse_model(Document(data=data), base=tmp_path).config["max_sequences"] == 256


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("gpu_memory_utilization", 0.9, "the cache takes half"),
        ("tensor_parallel_size", 4, "a model runs on one device"),
        ("pipeline_parallel_size", 2, "a model runs on one device"),
        ("trust_remote_code", True, "no code of a model is run"),
        ("max_cpu_loras", 4, "all adapters are held"),
        ("swap_space", 4, "no such setting"),
        ("invented", "x", "no such setting"),
    ],
)
def test_notes_what_counts_for_nothing(key: str, value: object, why: str) -> None:
    """With what was said, and why."""
    (note,) = translate(**{key: value}).notes

    assert note.startswith(f"`vllm_engine_config.{key}: {value}` counts for nothing: ")
    assert why in note


@pytest.mark.parametrize(
    "said",
    [{"tensor_parallel_size": 1}, {"tensor_parallel_size": 0}, {"trust_remote_code": False}],
)
def test_notes_nothing_that_asks_for_nothing(said: Mapping[str, object]) -> None:
    """One device, and no code of the model, is what there is."""
    assert translate(**said).notes == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_model_len", "long"),
        ("max_model_len", 0),
        ("max_model_len", True),
        ("max_num_seqs", -1),
        ("max_num_seqs", 1.5),
        ("dtype", "int8"),
        ("dtype", ["half"]),
        ("enforce_eager", "yes"),
        ("enable_prefix_caching", 1),
        ("speculative_model", 7),
        ("quantization", "awq"),
        ("rope_scaling", {"factor": 2}),
        ("hf_overrides", {"a": 1}),
        ("tokenizer", "org/other"),
        ("load_format", "dummy"),
    ],
)
def test_refuses_what_cannot_be_served(key: str, value: object) -> None:
    """Wrong types, and what would make it another model."""
    with pytest.raises(InvalidModel) as raised:
        translate(**{key: value})

    assert f"`vllm_engine_config.{key}: {value!r}` of 'm.mar' cannot be." in raised.value.message
