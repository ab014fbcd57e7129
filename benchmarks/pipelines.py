"""Folders of picture pipelines that benchmarks make themselves: real layouts, random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    LCMScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.folders import make_tokenizer


#: Side of the latents; a picture is eight times as wide.
_LATENTS = 32

_TEXT_WIDTHS = (128, 192)

_NUM_WORDS = 2_000


def make_sdxl(folder: Path) -> int:
    """Write an SDXL folder at a tenth of the widths; give the parameters of its UNet.

    Three levels, of which two attend (2 and 4 layers), two text encoders, pictures of 256 by 256,
    and the scheduler of LCM, which needs few steps.
    """
    torch.manual_seed(0)
    unet = _make_unet()
    pipeline = StableDiffusionXLPipeline(
        vae=_make_vae(),
        text_encoder=CLIPTextModel(_text_config(_TEXT_WIDTHS[0])),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(_TEXT_WIDTHS[1])),
        tokenizer=_make_tokenizer(),
        tokenizer_2=_make_tokenizer(),
        unet=unet,
        scheduler=LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
    )
    pipeline.save_pretrained(folder)
    return sum(parameter.numel() for parameter in unet.parameters())


def _make_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=_LATENTS,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 256),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 4),
        attention_head_dim=(2, 4, 8),
        cross_attention_dim=sum(_TEXT_WIDTHS),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        # Six sizes, and the pooled text.
        projection_class_embeddings_input_dim=6 * 32 + _TEXT_WIDTHS[1],
    )


def _make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=8 * _LATENTS,
    )


def _text_config(width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=_NUM_WORDS,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=4,
        num_attention_heads=width // 32,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _make_tokenizer() -> object:
    tokenizer = make_tokenizer(_NUM_WORDS)
    tokenizer.model_max_length = 77
    return tokenizer
