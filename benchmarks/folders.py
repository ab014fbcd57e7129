"""Folders of models that benchmarks make themselves.

Real layouts, random weights. Knows no server.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


#: Words of prompts. What they say does not matter: the weights are random.
WORDS = [
    "the",
    "river",
    "runs",
    "past",
    "the",
    "mill",
    "and",
    "under",
    "the",
    "old",
    "bridge",
    "to",
    "the",
    "sea",
    "where",
    "boats",
    "wait",
]


def prompt_of(length: int, seed: int) -> str:
    """Give a prompt of about `length` tokens, another for each seed."""
    return " ".join(WORDS[(seed * 7 + i * (seed % 5 + 1)) % len(WORDS)] for i in range(length))


def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the words above; its ids stay below `size`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 10, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def make_llama(folder: Path, *, hidden: int, layers: int, vocabulary: int = 32_000) -> int:
    """Write a LlamaForCausalLM folder with random bfloat16 weights; give its parameter count."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 64 * 64,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=max(hidden // 256, 1),
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).to(torch.bfloat16)
    model.save_pretrained(folder)
    make_tokenizer(2_000).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def widen_llama(source: Path, folder: Path, *, intermediate: int) -> int:
    """Write a Llama that says what another says, at the cost of a larger one; give its parameters.

    Its feed-forward layers have `intermediate` channels, of which those that are new weigh nothing.
    """
    model = LlamaForCausalLM.from_pretrained(source, local_files_only=True)
    config = LlamaConfig.from_pretrained(source)
    config.intermediate_size = intermediate
    wide = LlamaForCausalLM(config).to(model.dtype)
    state = model.state_dict()
    for name, tensor in wide.state_dict().items():
        part = tuple(slice(size) for size in state[name].shape)
        tensor.zero_()[part] = state[name]
    wide.save_pretrained(folder)
    for file in (
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ):
        if (source / file).exists():
            shutil.copy(source / file, folder)
    return sum(parameter.numel() for parameter in wide.parameters())
