"""AdapterConfig: what PEFT's file says, and what is refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from adapter_files import CONFIG

from torchloom.errors import InvalidModel
from torchloom_models.llm.adapter.config import AdapterConfig


LAYER = "model.layers.3.self_attn.q_proj"


def config(**values: object) -> AdapterConfig:
    """Read a configuration that differs from the usual one."""
    return AdapterConfig.from_values({**CONFIG, "target_modules": ["q_proj"], **values})


@pytest.mark.parametrize(
    ("values", "covered"),
    [
        ({}, True),
        ({"target_modules": ["proj"]}, False),
        ({"target_modules": ["self_attn.q_proj"]}, True),
        ({"target_modules": [LAYER]}, True),
        ({"target_modules": r".*\.[23]\..*q_proj"}, True),
        ({"target_modules": r"q_proj"}, False),
        ({"target_modules": "all-linear"}, True),
        ({"target_modules": None}, True),
        ({"exclude_modules": ["q_proj"]}, False),
        ({"exclude_modules": r".*layers\.3\..*", "target_modules": "all-linear"}, False),
        ({"layers_to_transform": 3}, True),
        ({"layers_to_transform": [0, 1]}, False),
        ({"layers_to_transform": [3], "layers_pattern": "layers"}, True),
        ({"layers_to_transform": [3], "layers_pattern": ["blocks"]}, False),
    ],
)
def test_knows_which_layers_it_changes(values: dict[str, object], covered: bool) -> None:  # noqa: FBT001 - a case
    """By the ends of names, whole patterns, exclusions, and numbers of blocks."""
    assert config(**values).covers(LAYER) is covered


@pytest.mark.parametrize(
    ("values", "rank", "scaling"),
    [
        ({"r": 8, "lora_alpha": 16}, 8, 2.0),
        ({"r": 16, "lora_alpha": 8, "use_rslora": True}, 16, 2.0),
        ({"r": 8, "lora_alpha": 8, "rank_pattern": {"q_proj": 4}}, 4, 2.0),
        ({"r": 8, "lora_alpha": 8, "rank_pattern": {"k_proj": 4}}, 8, 1.0),
        ({"r": 8, "lora_alpha": 8, "alpha_pattern": {r"layers\.3\..*": 24}}, 8, 3.0),
    ],
)
def test_gives_each_layer_its_rank_and_scaling(
    values: dict[str, object], rank: int, scaling: float
) -> None:
    """Alpha / r, or alpha / sqrt(r); a pattern's values before all others."""
    read = config(**values)

    assert read.rank_of(LAYER) == rank
    assert math.isclose(read.scaling_of(LAYER), scaling)


def test_knows_its_highest_rank() -> None:
    """A pattern may be above the rest."""
    assert config(r=4).max_rank == 4
    assert config(r=4, rank_pattern={"q_proj": 9}).max_rank == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "its `peft_type` is 'IA3'"),
        ({"bias": "lora_only"}, "`bias: lora_only` changes the model's own biases"),
        ({"use_dora": True}, "`use_dora` \\(DoRA"),
        ({"modules_to_save": ["lm_head"]}, "`modules_to_save` \\(whole layers"),
        ({"init_lora_weights": "pissa_niter_4"}, "`init_lora_weights: pissa_niter_4`"),
        ({"target_parameters": ["mlp.w"]}, "`target_parameters`"),
        ({"something_new": {"a": 1}}, "`something_new`, which is not served"),
        ({"r": 0}, "`r` must be a whole number from 1 on, not 0"),
        ({"r": True}, "`r` must be a whole number"),
        ({"lora_alpha": "big"}, "`lora_alpha` must be a number"),
        ({"lora_alpha": float("nan")}, "`lora_alpha` must be a number"),
        ({"rank_pattern": {"q_proj": 0}}, "`rank_pattern.q_proj`"),
        ({"rank_pattern": ["q_proj"]}, "`rank_pattern` must map"),
        ({"alpha_pattern": {"(": 2}}, "no regular expression"),
        ({"target_modules": "("}, "`target_modules` holds"),
        ({"target_modules": 3}, "`target_modules` must be a list"),
        ({"exclude_modules": [3]}, "`exclude_modules` must be a list"),
        ({"layers_to_transform": ["one"]}, "`layers_to_transform`"),
        ({"layers_pattern": 3}, "`layers_pattern`"),
    ],
)
def test_refuses_by_name(values: dict[str, object], message: str) -> None:
    """What would change an answer and is not served, and what makes no sense."""
    with pytest.raises(InvalidModel, match=message):
        config(**values)


def test_passes_over_what_is_neutral() -> None:
    """Newer files say what they do not do."""
    values = {"use_dora": False, "lora_bias": False, "corda_config": None, "loftq_config": {}}
    assert config(**values, init_lora_weights="gaussian").rank == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no adapter_config.json. An adapter's folder"),
        ("{", "cannot be read as JSON"),
        ("[]", "should hold a JSON object"),
        ('{"peft_type": "LOHA"}', "cannot be served: its `peft_type`"),
    ],
)
def test_says_what_is_wrong_with_a_folder(tmp_path: Path, text: str | None, message: str) -> None:
    """And which folder it is."""
    if text is not None:
        (tmp_path / "adapter_config.json").write_text(text)

    with pytest.raises(InvalidModel, match=message) as raised:
        AdapterConfig.read(tmp_path)
    assert str(tmp_path) in raised.value.message


def test_says_that_a_folder_is_none(tmp_path: Path) -> None:
    """A file, or nothing at all."""
    with pytest.raises(InvalidModel, match="is not a folder"):
        AdapterConfig.read(tmp_path / "none")
