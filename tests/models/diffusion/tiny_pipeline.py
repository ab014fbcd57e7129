"""Tiny pipelines with random weights in folders, and how tests drive engines on them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from torchloom.device import Device
from torchloom.engine import Chunk, Event, Failure, Result, Work
from torchloom_models.diffusion.engine import DiffusionEngine
from torchloom_models.diffusion.opening import open_engine


WORDS = ["a", "red", "blue", "green", "circle", "square", "left", "of", "on", "white", "ground"]

#: Tokens of a prompt, start and end among them.
LENGTH = 12

_START, _END = 1, 2


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Give a tokenizer of whole words that puts CLIP's two special tokens around a text."""
    vocabulary = {"<unk>": 0, "<start>": _START, "<end>": _END}
    vocabulary |= {word: number for number, word in enumerate(WORDS, len(vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", _START), ("<end>", _END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        model_max_length=LENGTH,
    )


def make_vae(channels: int = 4) -> AutoencoderKL:
    """Give an autoencoder whose latents are two pixels wide."""
    return AutoencoderKL(
        block_out_channels=(32, 32),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=16,
    )


def make_clip(width: int = 32) -> CLIPTextModel:
    """Give a text encoder of two layers."""
    return CLIPTextModel(clip_config(width))


def clip_config(width: int = 32) -> CLIPTextConfig:
    """Give the configuration of a text encoder of two layers."""
    return CLIPTextConfig(
        vocab_size=len(WORDS) + 3,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        bos_token_id=_START,
        eos_token_id=_END,
        pad_token_id=_END,
    )


def make_unet(**options: object) -> UNet2DConditionModel:
    """Give a UNet for latents of 8 by 8."""
    values: dict[str, object] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**{**values, **options})


def make_ddim() -> DDIMScheduler:
    """Give the scheduler of Stable Diffusion 1."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _stable_diffusion() -> DiffusionPipeline:
    return StableDiffusionPipeline(
        vae=make_vae(),
        text_encoder=make_clip(),
        tokenizer=make_tokenizer(),
        unet=make_unet(),
        scheduler=make_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _lcm() -> DiffusionPipeline:
    return LatentConsistencyModelPipeline(
        vae=make_vae(),
        text_encoder=make_clip(),
        tokenizer=make_tokenizer(),
        unet=make_unet(time_cond_proj_dim=32),
        scheduler=LCMScheduler.from_config(make_ddim().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


#: A small pipeline of each layout that is served, by name.
LAYOUTS: Mapping[str, Callable[[], DiffusionPipeline]] = {
    "stable_diffusion": _stable_diffusion,
    "lcm": _lcm,
}


def save_pipeline(folder: Path, layout: str = "stable_diffusion", *, seed: int = 0) -> Path:
    """Write a pipeline with random weights to `folder`."""
    torch.manual_seed(seed)
    pipeline = LAYOUTS[layout]()
    _enlarge(pipeline.vae)
    pipeline.save_pretrained(folder)
    return folder


def _enlarge(vae: torch.nn.Module) -> None:
    """Make the last layer loud: pictures of fresh weights are all grey."""
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(4)


def load_reference(
    folder: Path, of: type[DiffusionPipeline] = DiffusionPipeline
) -> DiffusionPipeline:
    """Give the pipeline as diffusers runs it, for comparison."""
    pipeline = of.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def open_tiny(folder: Path, **config: object) -> DiffusionEngine:
    """Open an engine on a folder; eager unless `compile` says otherwise."""
    values = {"name": "tiny", "source": str(folder), "compile": "eager", **config}
    return open_engine(values, Device("cpu"), lambda *_: None)


def drain(engine: DiffusionEngine, max_steps: int = 500) -> list[Event]:
    """Step until everything admitted has ended."""
    events: list[Event] = []
    for _ in range(max_steps):
        events += engine.step()
        if engine.is_idle:
            return events
    raise AssertionError(f"{engine!r} did not come to an end")


def draw(engine: DiffusionEngine, **inputs: object) -> Result:
    """Draw one picture to its end."""
    engine.admit(Work(0, {"prompt": "a red circle", **inputs}))
    end = drain(engine)[-1]
    assert isinstance(end, Result), end
    return end


def ends(events: Iterable[Event]) -> dict[int, Result | Failure]:
    """Give how each task ended, by its id."""
    return {event.task_id: event for event in events if not isinstance(event, Chunk)}


def pixels_of(result: Result | Chunk | Failure) -> NDArray[np.int16]:
    """Give the pixels [height, width, 3] of a result's or a chunk's picture."""
    assert not isinstance(result, Failure), result
    data = result.data if isinstance(result, Chunk) else result.outputs
    image = data["image"]
    assert isinstance(image, bytes)
    return np.asarray(Image.open(io.BytesIO(image)), np.int16)


def png_of(image: Image.Image, **options: object) -> bytes:
    """Give the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", **options)
    return stream.getvalue()


def edit_json(file: Path, **changes: object) -> None:
    """Change values of a JSON file; None takes a key out."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
