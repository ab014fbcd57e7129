"""Folders of models that benchmarks make themselves.

Real layouts, random weights. Knows no server.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import BertProcessing
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from benchmarks.texts import passages


#: Sizes of Llamas that benchmarks make: name → hidden size and layers.
LLAMA_SIZES = {"tiny": (256, 6), "100M": (768, 12), "500M": (1280, 26)}

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
    return _wrap(tokenizer)


def filled_up(tokenizer: PreTrainedTokenizerFast, size: int) -> PreTrainedTokenizerFast:
    """Give a copy in which each id below `size` has a text, as in models that have learned."""
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = document["model"]["vocab"]
    for number in range(len(tokenizer), size):
        vocabulary[f"w{number}"] = number  # there is no merge to it: no prompt comes to it
    return _wrap(Tokenizer.from_str(json.dumps(document)))


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def make_llama(
    folder: Path,
    *,
    hidden: int,
    layers: int,
    vocabulary: int = 32_000,
    intermediate: int | None = None,
    device: str = "cpu",
) -> int:
    """Write a LlamaForCausalLM folder with random bfloat16 weights; give its parameter count.

    The weights are drawn on `device`.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate or hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(hidden // 256, 1),
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    filled_up(make_tokenizer(2_000), vocabulary).save_pretrained(folder)
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


def make_bert(folder: Path, *, hidden: int, layers: int, vocabulary: int = 30_522) -> int:
    """Write a BERT folder with random weights and a WordPiece vocabulary; give its parameters."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=12,
        max_position_embeddings=512,
    )
    model = BertModel(config)
    model.save_pretrained(folder)
    _make_word_pieces(vocabulary).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _make_word_pieces(size: int) -> PreTrainedTokenizerFast:
    """Train BERT's tokenizer on the handbook; its ids stay below `size`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(passages(), trainer)
    tokenizer.post_processor = BertProcessing(
        ("[SEP]", special.index("[SEP]")), ("[CLS]", special.index("[CLS]"))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
    )
