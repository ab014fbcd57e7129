"""Engines on CUDA: they give there what they give on a CPU, compiled and recorded or not."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tiny_model
import tiny_pipeline
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from torchloom.device import Device
from torchloom.engine import Engine, Result, Work
from torchloom_models.diffusion.opening import open_engine as open_diffusion
from torchloom_models.embedder import open_embedder
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine as open_llm
from torchloom_models.module import open_module


CUDA = Device("cuda", "0")

PROMPTS = ["the quick brown fox", "how many ships are in the harbour today?", "naïve", "a b c d"]

#: What a model file may say of compiling.
COMPILE: dict[str, object] = {
    "eager": "eager",
    "unsaid": "inductor",
    "default": {"backend": "inductor", "mode": "default"},
    "recorded": {"backend": "inductor", "mode": "reduce-overhead"},
    "sized": {"backend": "inductor", "mode": "reduce-overhead", "dynamic": False},
}


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a tiny Llama."""
    return tiny_model.save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a tiny Stable Diffusion."""
    return tiny_pipeline.save_pipeline(tmp_path_factory.mktemp("stable_diffusion"))


def greedy(folder: Path, prompt: str, max_tokens: int) -> list[int]:
    """Give what transformers itself writes, on the GPU."""
    model = tiny_model.load_reference(folder).to("cuda")
    ids = tiny_model.make_tokenizer()(prompt, return_tensors="pt").input_ids.to("cuda")
    output = model.generate(ids, max_new_tokens=max_tokens, do_sample=False, use_cache=True)
    return [int(token) for token in output[0, ids.shape[1] :]]


def run_staggered(engine: LlmEngine, max_tokens: int) -> list[list[int]]:
    """Admit prompts between the steps of others; give the tokens of each."""
    sequences = []
    for number, prompt in enumerate(PROMPTS):
        engine.admit(Work(number, {"prompt": prompt}, {"max_tokens": max_tokens + number}))
        sequences.append(engine._sequences[number])
        for _ in range(number):
            engine.step()
    tiny_model.drain(engine)
    return [sequence.tokens for sequence in sequences]


def open_llama(folder: Path, compile_: object, **config: object) -> LlmEngine:
    """Open a language model with four slots."""
    values = {"source": str(folder), "compile": compile_, "max_sequences": 4, "dtype": "float32"}
    return open_llm({**values, **config}, CUDA, silent)


def states_of(engine: Engine) -> set[str]:
    """Give how the parts of an engine stand."""
    return {status.state for status in engine.code_status()}


@pytest.mark.parametrize("compile_", COMPILE)
def test_writes_what_transformers_writes(llama: Path, tmp_path: Path, compile_: str) -> None:
    """Greedy answers are transformers' own, token for token, in any mix, and a second time."""
    engine = open_llama(llama, COMPILE[compile_], artefacts=str(tmp_path))
    try:
        expected = [greedy(llama, prompt, 40 + number) for number, prompt in enumerate(PROMPTS)]
        assert run_staggered(engine, 40) == expected
        assert run_staggered(engine, 40) == expected
        assert states_of(engine) == {"eager" if compile_ == "eager" else "compiled"}
        assert engine.device == "cuda:0"
        assert engine.memory_bytes() > 0
    finally:
        engine.close()


def test_draws_samples_on_the_device(llama: Path) -> None:
    """Seeds, penalties and limits go there too; a seed gives one text, whatever runs beside."""
    engine = open_llama(llama, "eager")
    params = {"max_tokens": 12, "temperature": 1.0, "seed": 7, "top_p": 0.9, "top_k": 20}
    params |= {"repetition_penalty": 1.2, "min_p": 0.01}
    alone = tiny_model.generate(engine, PROMPTS[0], **params)
    engine.admit(Work(1, {"prompt": PROMPTS[1]}, {"max_tokens": 30, "temperature": 2.0}))
    engine.admit(Work(2, {"prompt": PROMPTS[0]}, params))
    ends = {event.task_id: event for event in tiny_model.drain(engine) if isinstance(event, Result)}

    assert isinstance(alone, Result)
    assert ends[2].outputs["text"] == alone.outputs["text"]


@pytest.mark.parametrize("compile_", COMPILE)
def test_embeds_as_a_cpu_does(tmp_path: Path, compile_: str) -> None:
    """Vectors are those of the CPU, in any batch."""
    config: dict[str, object] = {"source": str(save_bert(tmp_path)), "dtype": "float32"}
    works = [Work(n, {"text": "ab cd " * (n % 9)}) for n in range(40)]
    found = []
    for device, how in ((Device("cpu"), "eager"), (CUDA, COMPILE[compile_])):
        engine = open_embedder({**config, "compile": how}, device, silent)
        for _ in range(3):
            for work in works:
                engine.admit(work)
            results = [cast("Result", event) for event in engine.step()]
        found.append(np.stack([cast("np.ndarray", each.outputs["embedding"]) for each in results]))
        engine.close()

    np.testing.assert_allclose(found[1], found[0], atol=2e-5)


def save_bert(folder: Path) -> Path:
    """Make a tiny BERT, and a tokenizer of bytes."""
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(letters)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(
        vocab_size=len(letters), intermediate_size=128, max_position_embeddings=128, **sizes
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("compile_", ["eager", "unsaid", "default", "recorded"])
def test_draws_what_a_cpu_draws(stable_diffusion: Path, tmp_path: Path, compile_: str) -> None:
    """Noise comes from the CPU on every device: pictures are nearly the same, alone or together."""
    values = {"source": str(stable_diffusion), "dtype": "float32", "artefacts": str(tmp_path)}
    engine = open_diffusion({**values, "compile": COMPILE[compile_]}, CUDA, silent)
    requests: list[dict[str, object]] = [
        {"prompt": "a red circle", "seed": 1, "num_steps": 6, "guidance": 7.5},
        {"prompt": "green", "seed": 3, "num_steps": 5, "scheduler": "euler_a", "guidance": 1.0},
        {"prompt": "a square", "seed": 4, "num_steps": 6, "scheduler": "unipc"},
    ]
    cpu = tiny_pipeline.open_tiny(stable_diffusion, dtype="float32")
    expected = [pixels(tiny_pipeline.draw(cpu, **request)) for request in requests]
    for _ in range(3):
        for number, request in enumerate(requests):
            engine.admit(Work(number, request))
        drawn = {
            event.task_id: pixels(event)
            for event in tiny_pipeline.drain(engine)
            if isinstance(event, Result)
        }
        for number, here in enumerate(expected):
            assert np.abs(drawn[number] - here).mean() < 2
    allowed = {"eager"} if compile_ == "eager" else {"compiled", "compiling", "none"}
    assert states_of(engine) <= allowed
    engine.close()
    cpu.close()


def pixels(result: object) -> np.ndarray:
    """Give a result's pixels as whole numbers that can be taken from each other."""
    return tiny_pipeline.pixels_of(cast("Result", result)).astype(np.int16)


@pytest.mark.parametrize("compile_", COMPILE)
def test_runs_modules(compile_: str) -> None:
    """A module gives what it gives on a CPU, at every size of batch, recorded or not."""
    config: dict[str, object] = {
        "class": "torch.nn:Softmax",
        "functions": ["torch.nn"],
        "arguments": {"dim": 1},
        "inputs": {"input": {"shape": [3], "dtype": "float32"}},
        "compile": COMPILE[compile_],
    }
    engine = open_module(config, CUDA, silent)
    for number in (1, 2, 3, 3, 3, 2, 1):
        rows = torch.randn(number, 3)
        for row, values in enumerate(rows):
            engine.admit(Work(row, {"input": values.tolist()}))
        found = [cast("Result", event).outputs["output"] for event in engine.step()]
        expected = rows.softmax(1).numpy()
        np.testing.assert_allclose(np.stack(cast("list[np.ndarray]", found)), expected, atol=1e-6)
    engine.close()


def test_picks_the_faster_device(llama: Path, tmp_path: Path) -> None:
    """`auto` measures the GPU beside the CPU, and says what came out."""
    config = {"source": str(llama), "compile": "eager", "artefacts": str(tmp_path)}
    engine = open_llm(config, Device("auto"), silent)

    assert "cuda:0 " in engine.notes[0]
    assert "cpu " in engine.notes[0]
    assert engine.notes[0].endswith(f": {engine.device}")
    engine.close()
