"""What TensorRT-LLM's handler is told, in the words of a model file."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidModel
from torchloom_models.archive.llm.trt_llm_setting import translate_trt_llm


def test_translates_what_there_is() -> None:
    """What says where the model is, is read elsewhere."""
    section = {
        "tokenizer_dir": "a",
        "model_path": "b",
        "max_batch_size": 4,
        "dtype": "bfloat16",
        "kv_cache_config": {"enable_block_reuse": True, "max_tokens": None},
        "chat_template": None,
    }
    made = translate_trt_llm(section, whose="'m.mar'")

    assert made.fields == {"max_sequences": 4, "dtype": "bfloat16", "prefix_cache": True}
    assert made.notes == []


def test_notes_what_counts_for_nothing() -> None:
    """The compiled engine first of all."""
    section = {
        "engine_dir": "e",
        "kv_cache_config": {"free_gpu_memory_fraction": 0.1},
        "trt_llm_engine_config": {"engine_dir": "e"},
    }
    notes = translate_trt_llm(section, whose="'m.mar'").notes

    assert [note.partition(" counts for nothing")[0] for note in notes] == [
        "`handler.engine_dir: e`",
        "`handler.kv_cache_config.free_gpu_memory_fraction: 0.1`",
        "`handler.trt_llm_engine_config: {'engine_dir': 'e'}`",
    ]


@pytest.mark.parametrize(
    "section",
    [{"kv_cache_config": 0.1}, {"max_batch_size": "4"}, {"dtype": 16}],
)
def test_refuses_what_cannot_be(section: dict[str, object]) -> None:
    """The key is named."""
    with pytest.raises(InvalidModel, match=rf"handler\.{next(iter(section))}"):
        translate_trt_llm(section, whose="'m.mar'")
