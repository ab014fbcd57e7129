"""The tiny Stable Diffusion's denoiser: UNet and text encoder, trained together on latents.

Owns their sizes, the noise schedule, the loss, and the averaged weights. Knows nothing of pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .clip_tokenizer import MAX_TOKENS
from .schedule import TELL_EVERY, Clock, cosine


#: Length of a text token's vector, which the UNet attends to.
WIDTH = 128
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
    """Latents [n, 4, 16, 16] in half precision, and what goes with them, on the device."""

    latents: torch.Tensor
    #: The tokens of the prompts [n, 32].
    tokens: torch.Tensor
    #: Where the prompts place figures: true for the cells around [n, 16, 16].
    places: torch.Tensor
    #: The tokens of the empty prompt [32].
    empty: torch.Tensor

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw lessons at random, some without their prompt: latents, tokens and places."""
        device = self.latents.device
        chosen = torch.randint(len(self.latents), (size,), device=device)
        unprompted = torch.rand(size, 1, device=device) < UNPROMPTED_SHARE
        tokens = torch.where(unprompted, self.empty, self.tokens[chosen])
        return self.latents[chosen].float(), tokens, self.places[chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast to learn."""

    rate: float
    batch_size: int
    compile: bool


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
    pace: Pace,
    each_step: Callable[[Denoiser], None],
) -> None:
    """Train by the clock; `each_step` is given the averaged weights, which are the ones to keep."""
    averaged = copy.deepcopy(denoiser)
    running = _set_up(denoiser, averaged, lessons.latents.device, pace)
    means, values = averaged.parameters(), denoiser.parameters()
    scheduler = make_scheduler()
    optimizer = torch.optim.AdamW(
        values, lr=pace.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    while clock.tick():
        optimizer.param_groups[0]["lr"] = pace.rate * cosine(clock.done)
        loss = loss_of(running, scheduler, *lessons.batch(pace.batch_size))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        follow(means, values, step=clock.step)
        if clock.step % TELL_EVERY == 0:
            clock.tell(loss.item())
        each_step(averaged)


def _set_up(denoiser: Denoiser, averaged: Denoiser, device: torch.device, pace: Pace) -> Denoiser:
    """Move both to the device, and give the first one as it runs fastest there."""
    for model in (denoiser.unet, denoiser.text_encoder):
        model.to(device).train()
    for model in (averaged.unet, averaged.text_encoder):
        model.to(device).eval().requires_grad_(requires_grad=False)
    if device.type == "cpu":
        # Plain products train faster than the fused kernel on a CPU, in bf16.
        denoiser.unet.set_attn_processor(AttnProcessor())
        denoiser.text_encoder.set_attn_implementation("eager")
    if not pace.compile:
        return denoiser
    return Denoiser(torch.compile(denoiser.unet), torch.compile(denoiser.text_encoder))


@torch.no_grad()
def follow(averaged: Sequence[torch.Tensor], present: Sequence[torch.Tensor], *, step: int) -> None:
    """Move averaged weights towards the present ones, faster while there are few steps."""
    torch._foreach_lerp_(averaged, present, max(1 - AVERAGE_DECAY, 9 / (step + 9)))


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
    size, device = len(latents), latents.device
    moments = (torch.arange(size, device=device) + torch.rand(size, device=device)) / size
    timesteps = (moments * scheduler.config.num_train_timesteps).long()
    noise = torch.randn_like(latents)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    wanted = scheduler.get_velocity(latents, noise, timesteps)
    with torch.autocast(device.type, torch.bfloat16):
        predicted = denoiser(noisy, timesteps, tokens)
    weights = torch.where(places, FIGURE_WEIGHT, 1.0)
    errors = functional.mse_loss(predicted.float(), wanted, reduction="none").mean(dim=1)
    return (errors * weights).sum() / weights.sum()
