"""Adapters with random weights in folders, as PEFT writes them, and models that hold one merged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_model import load_reference, make_tokenizer
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from torchloom_models.llm.adapter.config import AdapterConfig


#: Linear layers of most layouts, by the ends of their names.
TARGETS = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")

CONFIG: Mapping[str, object] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "tiny",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "use_dora": False,
    "use_rslora": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}


def save_adapter(
    folder: Path,
    model: Path,
    *,
    targets: Sequence[str] | str = TARGETS,
    seed: int = 1,
    **config: object,
) -> Path:
    """Write an adapter of a model, strong enough to change what it writes."""
    folder.mkdir(parents=True, exist_ok=True)
    written = targets if isinstance(targets, str) else list(targets)
    values = {**CONFIG, "target_modules": written, **config}
    (folder / "adapter_config.json").write_text(json.dumps(values), encoding="utf-8")
    read = AdapterConfig.from_values(values)
    draw = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, num_in, num_out in linear_layers(load_reference(model)):
        if read.covers(name):
            rank = read.rank_of(name)
            key = f"base_model.model.{name}.lora"
            tensors[f"{key}_A.weight"] = torch.randn((rank, num_in), generator=draw) * 0.3
            tensors[f"{key}_B.weight"] = torch.randn((num_out, rank), generator=draw) * 0.3
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def linear_layers(model: PreTrainedModel) -> list[tuple[str, int, int]]:
    """Give name, inputs and outputs of each linear layer, but not of the head."""
    head = model.get_output_embeddings()
    found = []
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.Linear) and part is not head:
            found.append((name, part.in_features, part.out_features))
        elif isinstance(part, Conv1D):
            found.append((name, *part.weight.shape))
    return found


def merged(model: Path, adapter: Path) -> PreTrainedModel:
    """Give the model with W + scaling · B · A in place of W, as PEFT defines it, in float32."""
    reference = load_reference(model).float()
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    for key in [key for key in tensors if key.endswith("lora_A.weight")]:
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        down = tensors[key]
        up = tensors[key.replace("lora_A", "lora_B")]
        rank = len(down)
        ends = {n: v for n, v in config["alpha_pattern"].items() if name.endswith(n)}
        alpha = next(iter(ends.values()), config["lora_alpha"])
        scaling = alpha / (rank**0.5 if config["use_rslora"] else rank)
        part = reference.get_submodule(name)
        added = scaling * (up @ down)
        with torch.no_grad():
            part.weight += added.T if isinstance(part, Conv1D) else added
    return reference


def greedy(model: PreTrainedModel, prompt: str, num_tokens: int) -> list[int]:
    """Give the tokens that transformers writes, whatever ends a text."""
    ids = make_tokenizer()(prompt, return_tensors="pt").input_ids
    with torch.inference_mode():
        for _ in range(num_tokens):
            best = model(input_ids=ids).logits[:, -1].argmax(-1)
            ids = torch.cat([ids, best[:, None]], dim=1)
    return ids[0, -num_tokens:].tolist()
