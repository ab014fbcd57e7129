"""Folders of picture pipelines that benchmarks make themselves: real layouts, random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """How wide a Stable Diffusion 1 is: those of 1.5 itself, unless told otherwise."""

    unet: tuple[int, ...] = (320, 640, 1280, 1280)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    text: int = 768
    text_layers: int = 12
    latents: int = 64


def make_stable_diffusion(folder: Path, widths: Widths, *, dtype: str, device: str) -> int:
    """Write a folder of Stable Diffusion 1's layout; give the parameters of its UNet.

    The weights are drawn on `device`, and stored in `dtype`. DDIM asks the network as often as
    there are steps.
    """
    torch.manual_seed(0)
    with torch.device(device):
        unet = _make_unet_1(widths)
        vae = AutoencoderKL(
            block_out_channels=widths.vae,
            down_block_types=("DownEncoderBlock2D",) * len(widths.vae),
            up_block_types=("UpDecoderBlock2D",) * len(widths.vae),
            layers_per_block=2,
            latent_channels=4,
            sample_size=8 * widths.latents,
        )
        text_encoder = CLIPTextModel(
            _text_config(widths.text, layers=widths.text_layers, head_width=64)
        )
    pipeline = StableDiffusionPipeline(
        vae=vae.to(getattr(torch, dtype)),
        text_encoder=text_encoder.to(getattr(torch, dtype)),
        tokenizer=_make_tokenizer(),
        unet=unet.to(getattr(torch, dtype)),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return sum(parameter.numel() for parameter in unet.parameters())


def _make_unet_1(widths: Widths) -> UNet2DConditionModel:
    attending = len(widths.unet) - 1
    return UNet2DConditionModel(
        sample_size=widths.latents,
        in_channels=4,
        out_channels=4,
        block_out_channels=widths.unet,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * attending,
        attention_head_dim=8,
        cross_attention_dim=widths.text,
    )


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


def _text_config(width: int, *, layers: int = 4, head_width: int = 32) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=_NUM_WORDS,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // head_width,
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
