"""Train the tiny Stable Diffusion: `python -m examples.tiny_models.train_stable_diffusion`.

Owns the two stages, autoencoder and denoiser, and the folder that they become. The models are in
`autoencoder` and `denoiser`, what they are taught is in `gallery`.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

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
    RATE,
    Denoiser,
    Lessons,
    make_denoiser,
    make_scheduler,
    tokenize,
    train_denoiser,
)
from .gallery import draw_nudged, make_scene, to_cells, to_pixels
from .painter import FEW_STEPS, FOLDER, load_pipeline, score_pictures
from .schedule import Clock


#: The autoencoder's part of `--minutes`.
FIRST_SHARE = 0.1
SCORED_PROMPTS = 60
ENCODED_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    autoencoder_steps: int
    num_steps: int
    minutes: float
    num_lessons: int
    rate: float
    seed: int
    score_every: int
    start: Path | None
    stage: int


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


def make_lessons(parts: Parts, plan: Plan, device: torch.device) -> Lessons:
    """Draw scenes and encode them once, so that the second stage need not."""
    random = Random(f"lessons {plan.seed}")
    latents, prompts, places = [], [], []
    for _ in track(
        range(plan.num_lessons // ENCODED_AT_ONCE),
        description="drawing",
        console=Console(stderr=True),
    ):
        scenes = [make_scene(random) for _ in range(ENCODED_AT_ONCE)]
        pixels = to_pixels([draw_nudged(scene, random) for scene in scenes]).to(device)
        latents.append(encode(parts.autoencoder, pixels).half().cpu())
        prompts += [scene.to_prompt() for scene in scenes]
        places += [to_cells(scene) for scene in scenes]
    tokens = tokenize(parts.tokenizer, prompts)
    empty = tokenize(parts.tokenizer, [""])[0]
    return Lessons(torch.cat(latents), tokens, torch.from_numpy(np.stack(places)), empty)


def train(plan: Plan, folder: Path, device: torch.device) -> None:
    """Train both stages, or the second from where a folder stands."""
    torch.manual_seed(plan.seed)
    parts = load_parts(plan.start) if plan.start else make_parts()
    minutes = plan.minutes
    if plan.stage == 1:
        with Clock(
            "autoencoder", num_steps=plan.autoencoder_steps, minutes=FIRST_SHARE * minutes
        ) as clock:
            train_autoencoder(parts.autoencoder, clock, seed=plan.seed, device=device)
            scores = score_autoencoder(parts.autoencoder, num_scenes=200, seed=1, device=device)
            clock.say(f"{clock.step} steps in {clock.spent_s / 60:.1f} min: {scores}")
        save(parts.to_pipeline(), folder)
        minutes *= 1 - FIRST_SHARE
    parts.autoencoder.to(device).eval()
    lessons = make_lessons(parts, plan, device)
    with Clock("denoiser", num_steps=plan.num_steps, minutes=minutes) as clock:

        def each_step(averaged: Denoiser) -> None:
            if clock.step % plan.score_every and clock.done < 1.0:
                return
            pipeline = parts.to_pipeline(averaged)
            save(pipeline, folder)
            scores = score_pictures(
                pipeline, num_prompts=SCORED_PROMPTS, seed=clock.step, num_steps=FEW_STEPS
            )
            clock.say(f"step {clock.step}, {FEW_STEPS} steps a picture: {scores}")

        train_denoiser(
            parts.denoiser, lessons, clock, rate=plan.rate, device=device, each_step=each_step
        )
        clock.say(f"{clock.step} steps in {clock.spent_s / 60:.1f} min on {device}")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--start", type=Path, help="a folder to go on with")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="to begin with; 2 with --start")
    parser.add_argument("--autoencoder-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop by the clock, not by steps"
    )
    parser.add_argument("--lessons", type=int, default=40_000, help="drawings of the second stage")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--score-every", type=int, default=500)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    # Saving in bf16, again and again, is meant; the bars shown are this script's own.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    plan = Plan(
        autoencoder_steps=options.autoencoder_steps,
        num_steps=options.steps,
        minutes=options.minutes,
        num_lessons=options.lessons,
        rate=options.rate,
        seed=options.seed,
        score_every=options.score_every,
        start=options.start,
        stage=options.stage or (2 if options.start else 1),
    )
    train(plan, options.folder, torch.device(options.device))


if __name__ == "__main__":
    main()
