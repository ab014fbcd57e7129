"""Train the tiny Stable Diffusion: `python -m examples.tiny_models.train_stable_diffusion`.

Owns the two stages, autoencoder and denoiser, their plans, and the folder that they become. The
models are in `autoencoder` and `denoiser`, what they are taught is in `gallery`.
"""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from time import monotonic
from typing import Annotated

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from diffusers.utils import logging
from rich.console import Console
from rich.progress import track
from transformers import CLIPTokenizer

from .autoencoder import encode, make_autoencoder, score_autoencoder, train_autoencoder
from .clip_tokenizer import make_tokenizer
from .denoiser import (
    Denoiser,
    Lessons,
    Pace,
    make_denoiser,
    make_scheduler,
    tokenize,
    train_denoiser,
)
from .gallery import make_scene, to_cells
from .painter import FEW_STEPS, FOLDER, load_pipeline, score_pictures
from .plan import Plan, name_of, read_plan
from .schedule import Clock
from .stencil import Stencils


#: The autoencoder's part of `--minutes`.
FIRST_SHARE = 0.25
SCORED_PROMPTS = 60
ENCODED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StableDiffusionPlan(Plan):
    """How long and how fast to train the two stages."""

    folder: Annotated[Path, "where to write the trained folder"] = FOLDER
    autoencoder_steps: Annotated[int, "steps of the first stage; with --start, it is left out"] = (
        6000
    )
    autoencoder_batch: Annotated[int, "drawings in a step of the first stage"] = 16
    batch: Annotated[int, "lessons in a step of the second stage"] = 32
    lessons: Annotated[int, "drawings of the second stage"] = 40_000
    rate: Annotated[float, "learning rate of the second stage"] = 1e-3


ON_CPU = StableDiffusionPlan(steps=12_000, compile=False)
PLANS = {
    "cpu": ON_CPU,
    "cuda": replace(
        ON_CPU,
        device="cuda",
        compile=True,
        autoencoder_batch=64,
        steps=16_000,
        batch=128,
        lessons=200_000,
        score_every=4000,
    ),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pipeline's folder is made of."""

    tokenizer: CLIPTokenizer
    autoencoder: AutoencoderKL
    denoiser: Denoiser

    def to_pipeline(self, denoiser: Denoiser | None = None) -> StableDiffusionPipeline:
        """Put the pipeline together, with other weights of the denoiser if given."""
        denoiser = denoiser or self.denoiser
        pipeline = StableDiffusionPipeline(
            vae=self.autoencoder,
            text_encoder=denoiser.text_encoder,
            tokenizer=self.tokenizer,
            unet=denoiser.unet,
            scheduler=make_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def make_parts() -> Parts:
    """Make the untrained parts."""
    tokenizer = make_tokenizer()
    return Parts(tokenizer, make_autoencoder(), make_denoiser(tokenizer))


def load_parts(folder: Path) -> Parts:
    """Take the parts from a folder to go on with."""
    pipeline = load_pipeline(folder)
    return Parts(pipeline.tokenizer, pipeline.vae, Denoiser(pipeline.unet, pipeline.text_encoder))


def save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the folder in bf16, file by file, so that readers never see half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as written:
        copied = StableDiffusionPipeline(
            **{name: copy.deepcopy(part) for name, part in pipeline.components.items()},
            requires_safety_checker=False,
        )
        for part in (copied.vae, copied.unet, copied.text_encoder):
            part.to("cpu", torch.bfloat16)
        copied.save_pretrained(written)
        _load_in_float32(Path(written) / "text_encoder" / "config.json")
        for path in sorted(Path(written).rglob("*")):
            target = folder / path.relative_to(written)
            if path.is_dir():
                target.mkdir(exist_ok=True)
                continue
            path.chmod(0o644)
            path.replace(target)


def _load_in_float32(file: Path) -> None:
    """Let the text encoder load in the dtype that diffusers loads all else in."""
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", "utf-8")


def make_lessons(parts: Parts, stencils: Stencils, *, num_lessons: int, seed: int) -> Lessons:
    """Draw scenes and encode them once, so that the second stage need not."""
    random, device = Random(f"lessons {seed}"), stencils.masks.device
    latents, tokens, places = [], [], []
    for start in track(
        range(0, num_lessons, ENCODED_AT_ONCE),
        description="drawing",
        console=Console(stderr=True),
    ):
        scenes = [make_scene(random) for _ in range(min(ENCODED_AT_ONCE, num_lessons - start))]
        latents.append(encode(parts.autoencoder, stencils.draw(scenes, random)).half())
        tokens.append(tokenize(parts.tokenizer, [scene.to_prompt() for scene in scenes]))
        places.append(torch.from_numpy(np.stack([to_cells(scene) for scene in scenes])))
    return Lessons(
        torch.cat(latents),
        torch.cat(tokens).to(device),
        torch.cat(places).to(device),
        tokenize(parts.tokenizer, [""])[0].to(device),
    )


def train(plan: StableDiffusionPlan) -> None:
    """Train both stages, or the second from where a folder stands."""
    started, device = monotonic(), torch.device(plan.device)
    torch.manual_seed(plan.seed)
    parts = load_parts(plan.start) if plan.start else make_parts()
    stencils = Stencils.cut(Random(f"stencils {plan.seed}"), device)
    minutes = plan.minutes
    if plan.start is None:
        _train_autoencoder(parts, stencils, plan)
        minutes *= 1 - FIRST_SHARE
    parts.autoencoder.to(device).eval()
    lessons = make_lessons(parts, stencils, num_lessons=plan.lessons, seed=plan.seed)
    pace = Pace(rate=plan.rate, batch_size=plan.batch, compile=plan.compile)
    with Clock("denoiser", num_steps=plan.steps, minutes=minutes) as clock:

        def each_step(averaged: Denoiser) -> None:
            if clock.step % plan.score_every and clock.done < 1.0:
                return
            pipeline = parts.to_pipeline(averaged)
            save(pipeline, plan.folder)
            scores = score_pictures(
                pipeline, num_prompts=SCORED_PROMPTS, seed=clock.step, num_steps=FEW_STEPS
            )
            clock.say(f"step {clock.step}, {FEW_STEPS} steps a picture: {scores}")

        train_denoiser(parts.denoiser, lessons, clock, pace, each_step)
        clock.say(f"{clock.step} steps in {clock.spent_s / 60:.1f} min")
    print(f"trained in {(monotonic() - started) / 60:.1f} min on {name_of(device)}")


def _train_autoencoder(parts: Parts, stencils: Stencils, plan: StableDiffusionPlan) -> None:
    """Train the first stage, score it and save."""
    with Clock(
        "autoencoder", num_steps=plan.autoencoder_steps, minutes=FIRST_SHARE * plan.minutes
    ) as clock:
        train_autoencoder(
            parts.autoencoder, stencils, clock, seed=plan.seed, batch_size=plan.autoencoder_batch
        )
        scores = score_autoencoder(
            parts.autoencoder, num_scenes=200, seed=1, device=stencils.masks.device
        )
        clock.say(f"{clock.step} steps in {clock.spent_s / 60:.1f} min: {scores}")
    save(parts.to_pipeline(), plan.folder)


def main() -> None:
    """Read the command line and train."""
    # Saving in bf16, again and again, is meant; the bars shown are this script's own.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train(read_plan(PLANS, __doc__ or ""))


if __name__ == "__main__":
    main()
