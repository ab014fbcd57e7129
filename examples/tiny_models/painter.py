"""Paints prompts with a `StableDiffusionPipeline`, and scores what it paints.

Owns how pictures are sampled for scoring, and the score. What is right is in `checker`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console
from rich.progress import track

from .checker import Verdict, check
from .gallery import make_scene
from .scenes import Scene


FOLDER = Path(__file__).parent / "tiny_stable_diffusion"
#: Steps and guidance that the pictures are meant to be painted with, and the few that still do.
NUM_STEPS = 20
FEW_STEPS = 8
GUIDANCE = 2.0


def load_pipeline(folder: Path = FOLDER) -> StableDiffusionPipeline:
    """Load the folder in fp32, as anybody would."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    num_steps: int = NUM_STEPS,
    guidance: float = GUIDANCE,
    seed: int = 0,
    batch_size: int = 40,
    shown: str = "",
) -> list[np.ndarray]:
    """Paint each prompt as uint8 [64, 64, 3], each with a seed of its own; same order as given.

    With `shown`, a progress bar of that name is drawn on stderr.
    """
    pictures: list[np.ndarray] = []
    starts: Iterable[int] = range(0, len(prompts), batch_size)
    if shown:
        starts = track(starts, description=shown, console=Console(stderr=True))
    for start in starts:
        some = list(prompts[start : start + batch_size])
        painted = pipeline(
            some,
            num_inference_steps=num_steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed + start + i) for i in range(len(some))],
            output_type="np",
        ).images
        pictures += list((painted * 255).round().astype(np.uint8))
    return pictures


def make_scenes(num_scenes: int, seed: int) -> list[Scene]:
    """Make scenes whose figures were all kept out of training."""
    random = Random(f"scenes {seed}")
    return [make_scene(random, held_out=True) for _ in range(num_scenes)]


def score_pictures(
    pipeline: StableDiffusionPipeline,
    *,
    num_prompts: int,
    seed: int,
    num_steps: int = NUM_STEPS,
    guidance: float = GUIDANCE,
    shown: str = "",
) -> dict[str, float]:
    """Give the shares of held-out prompts whose colours, shapes and sizes are all right."""
    scenes = make_scenes(num_prompts, seed)
    pictures = paint(
        pipeline,
        [scene.to_prompt() for scene in scenes],
        num_steps=num_steps,
        guidance=guidance,
        seed=seed,
        shown=shown,
    )
    return share_right([check(*pair) for pair in zip(pictures, scenes, strict=True)])


def share_right(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Give the shares of pictures that are right in every figure."""
    return {
        "colours_right": sum(verdict.colours_right for verdict in verdicts) / len(verdicts),
        "shapes_right": sum(verdict.shapes_right for verdict in verdicts) / len(verdicts),
        "sizes_right": sum(verdict.sizes_right for verdict in verdicts) / len(verdicts),
    }
