"""The tiny Stable Diffusion's denoiser: UNet and text encoder, trained together on latents.

Owns their sizes, the noise schedule, the loss, and the averaged weights. Knows nothing of pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .clip_tokenizer import MAX_TOKENS
from .schedule import Clock, cosine


#: Length of a text token's vector, which the UNet attends to.
WIDTH = 128
BATCH_SIZE = 32
RATE = 1e-3
#: The share of pictures that are learned without their prompt, for classifier-free guidance.
UNPROMPTED_SHARE = 0.1
#: How much more a latent near a figure counts than one of the background, which is most of them.
FIGURE_WEIGHT = 4.0
#: How slowly the averaged weights follow.
AVERAGE_DECAY = 0.998


@dataclass(frozen=True, slots=True)
class Denoiser:
    """Two models that are one in training."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel

    def parameters(self) -> list[torch.nn.Parameter]:
        """Give the parameters of both, always in the same order."""
        return list(chain(self.unet.parameters(), self.text_encoder.parameters()))

    def __call__(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Predict the velocity in noisy latents [n, 4, 16, 16], given prompts' tokens [n, 32]."""
        texts = self.text_encoder(tokens).last_hidden_state
        return self.unet(noisy, timesteps, encoder_hidden_states=texts, return_dict=False)[0]


@dataclass(frozen=True, slots=True)
class Lessons:
    """Latents [n, 4, 16, 16] in half precision, and what goes with them."""

    latents: torch.Tensor
    #: The tokens of the prompts [n, 32].
    tokens: torch.Tensor
    #: Where the prompts place figures: true for the cells around [n, 16, 16].
    places: torch.Tensor
    #: The tokens of the empty prompt [32].
    empty: torch.Tensor

    def batch(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw lessons at random, some without their prompt: latents, tokens and places."""
        chosen = torch.randint(len(self.latents), (BATCH_SIZE,))
        unprompted = torch.rand(BATCH_SIZE, 1) < UNPROMPTED_SHARE
        tokens = torch.where(unprompted, self.empty, self.tokens[chosen])
        latents = self.latents[chosen].float()
        return latents.to(device), tokens.to(device), self.places[chosen].to(device)


def make_denoiser(tokenizer: CLIPTokenizer) -> Denoiser:
    """Make the untrained models."""
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # the number of heads: diffusers calls it so
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return Denoiser(unet, text_encoder)


def make_scheduler() -> DDIMScheduler:
    """Make the noise schedule: Stable Diffusion's, but down to so little that layout is learned."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.02,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Give the tokens [n, 32] of prompts as `StableDiffusionPipeline` does."""
    inputs = tokenizer(
        prompts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return inputs.input_ids


def train_denoiser(
    denoiser: Denoiser,
    lessons: Lessons,
    clock: Clock,
    *,
    rate: float,
    device: torch.device,
    each_step: Callable[[Denoiser], None],
) -> None:
    """Train by the clock; `each_step` is given the averaged weights, which are the ones to keep."""
    averaged = copy.deepcopy(denoiser)
    for model in (denoiser.unet, denoiser.text_encoder):
        model.to(device).train()
    for model in (averaged.unet, averaged.text_encoder):
        model.to(device).eval().requires_grad_(requires_grad=False)
    if device.type == "cpu":
        # Plain products train faster than the fused kernel on a CPU, in bf16.
        denoiser.unet.set_attn_processor(AttnProcessor())
        denoiser.text_encoder.set_attn_implementation("eager")
    scheduler = make_scheduler()
    optimizer = torch.optim.AdamW(
        denoiser.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    while clock.tick():
        for group in optimizer.param_groups:
            group["lr"] = rate * cosine(clock.done)
        loss = loss_of(denoiser, scheduler, *lessons.batch(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        follow(averaged, denoiser, step=clock.step)
        clock.tell(loss.item())
        each_step(averaged)


@torch.no_grad()
def follow(averaged: Denoiser, denoiser: Denoiser, *, step: int) -> None:
    """Move the averaged weights towards the present ones, faster while there are few steps."""
    share = max(1 - AVERAGE_DECAY, 9 / (step + 9))
    for mean, value in zip(averaged.parameters(), denoiser.parameters(), strict=True):
        mean.lerp_(value, share)


def loss_of(
    denoiser: Denoiser,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    places: torch.Tensor,
) -> torch.Tensor:
    """Give the squared error of the velocity at timesteps spread evenly over the batch.

    Cells near a figure weigh more. The prompt alone says which these are, so that what is learned
    is still the mean of the velocity given the prompt.
    """
    size = len(latents)
    moments = (torch.arange(size) + torch.rand(size)) / size
    timesteps = (moments * scheduler.config.num_train_timesteps).long().to(latents.device)
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    wanted = scheduler.get_velocity(latents, noise, timesteps)
    with torch.autocast(latents.device.type, torch.bfloat16):
        predicted = denoiser(noisy, timesteps, tokens)
    weights = torch.where(places, FIGURE_WEIGHT, 1.0)
    errors = functional.mse_loss(predicted.float(), wanted, reduction="none").mean(dim=1)
    return (errors * weights).sum() / weights.sum()
