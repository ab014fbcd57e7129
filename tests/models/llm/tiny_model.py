"""Tiny models with random weights in folders, and how tests drive engines on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.configuration_utils import PreTrainedConfig

from torchloom.device import Device
from torchloom.engine import Chunk, Event, Failure, Result, Work
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine


VOCABULARY = 384

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "how many ships are in the harbour today?",
    "there are seven of them, and all of them are old",
    "naïve café: 東京 and Αθήνα 🙂🙃",
]

_SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Far from zero, so that the likeliest tokens differ clearly.
    "initializer_range": 0.5,
}


def _llama_3_2() -> LlamaConfig:
    """Everything that the Llama 3.2 layout has, but small."""
    return LlamaConfig(
        **{**_SIZE, "eos_token_id": [2, 5, 6], "max_position_embeddings": 512},
        head_dim=8,
        tie_word_embeddings=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 64,
        },
    )


#: A small configuration of each layout that is checked, by name.
LAYOUTS: Mapping[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_SIZE),
    "llama_3_2": _llama_3_2,
    "qwen3": lambda: Qwen3Config(**_SIZE, head_dim=8),
    "mistral": lambda: MistralConfig(**_SIZE, sliding_window=16),
    "gemma3": lambda: Gemma3TextConfig(
        **_SIZE,
        head_dim=8,
        sliding_window=12,
        query_pre_attn_scalar=8,
        tie_word_embeddings=False,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "phi": lambda: PhiConfig(**_SIZE),
    "phi3": lambda: Phi3Config(**_SIZE, sliding_window=20),
    "mixtral": lambda: MixtralConfig(**_SIZE, num_local_experts=4),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=256,
        n_embd=32,
        n_layer=3,
        n_head=4,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.5,
    ),
}


def make_tokenizer(*, chat_template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Give a byte-level BPE of VOCABULARY tokens at most."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    if chat_template is not None:
        fast.chat_template = chat_template
    return fast


def save_model(
    folder: Path, layout: str = "llama", *, chat_template: str | None = TEMPLATE, seed: int = 0
) -> Path:
    """Write a model with random weights to `folder`."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(LAYOUTS[layout]())
    model.save_pretrained(folder)
    make_tokenizer(chat_template=chat_template).save_pretrained(folder)
    return folder


def load_reference(folder: Path) -> PreTrainedModel:
    """Give the model as transformers runs it, for comparison."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval()


def open_tiny(folder: Path, **config: object) -> LlmEngine:
    """Open an engine on a folder; eager unless `compile` says otherwise."""
    values = {"name": "tiny", "source": str(folder), "compile": "eager", **config}
    return open_engine(values, Device("cpu"), lambda *_: None)


def drain(engine: LlmEngine, max_steps: int = 2000) -> list[Event]:
    """Step until everything admitted has ended; check the slots after each step."""
    events: list[Event] = []
    for _ in range(max_steps):
        events += engine.step()
        engine.check()
        if engine.is_idle:
            return events
    raise AssertionError(f"{engine!r} did not come to an end")


def run_together(
    engine: LlmEngine, works: Iterable[Work]
) -> tuple[dict[int, Result | Failure], int]:
    """Run tasks side by side; give how each ended, and after how many steps all had."""
    for work in works:
        engine.admit(work)
    events: list[Event] = []
    count = 0
    while not engine.is_idle:
        events += engine.step()
        engine.check()
        count += 1
    return ends(events), count


def generate(engine: LlmEngine, prompt: str, **params: object) -> Result | Failure:
    """Run one prompt to its end."""
    engine.admit(Work(0, {"prompt": prompt}, params))
    last = drain(engine)[-1]
    assert not isinstance(last, Chunk)
    return last


def ends(events: Iterable[Event]) -> dict[int, Result | Failure]:
    """Give how each task ended, by its id."""
    return {event.task_id: event for event in events if not isinstance(event, Chunk)}


def text_of(events: Iterable[Event], task_id: int) -> str:
    """Put a task's chunks together."""
    return "".join(
        str(event.data["text"])
        for event in events
        if isinstance(event, Chunk) and event.task_id == task_id
    )
