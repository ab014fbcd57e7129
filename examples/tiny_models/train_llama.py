"""Train the tiny Llama from scratch: `python -m examples.tiny_models.train_llama`.

Owns the model's size, the optimisers and the schedule. What is taught is in `lesson`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import distributed, multiprocessing
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from .evaluate import score_answers
from .lesson import ANSWER_WEIGHT, Batch, Teacher
from .passages import make_case
from .pictures import make_picture_case
from .priming import prime
from .tokenizer import MAX_NUMBERED, train_tokenizer


FOLDER = Path(__file__).parent / "tiny_llama"
VOCAB_SIZE = 1024
MAX_POSITIONS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    num_steps: int
    minutes: float
    num_tokens: int
    matrix_rate: float
    vector_rate: float
    seed: int
    score_every: int
    compiled: bool
    start: Path | None
    stage: int
    num_workers: int


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on cases of its own."""
    random = Random(seed)
    texts = []
    for _ in range(12_000):
        case = make_case(random)
        texts.append(f" {case.prompt}\n {case.answer} [{random.randint(1, MAX_NUMBERED)}].")
    for _ in range(800):
        picture = make_picture_case(random)
        texts.append(f" {picture.prompt}\n {picture.answer}")
    return train_tokenizer(texts, vocab_size=VOCAB_SIZE)


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=256,
            intermediate_size=640,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def start(plan: Plan) -> tuple[PreTrainedTokenizerFast, LlamaForCausalLM]:
    """Make tokenizer and model afresh, or take both from a folder to go on with."""
    if plan.start is not None:
        tokenizer = AutoTokenizer.from_pretrained(plan.start)
        return tokenizer, LlamaForCausalLM.from_pretrained(plan.start, dtype=torch.float32)
    tokenizer = make_tokenizer(plan.seed)
    model = make_model(tokenizer, plan.seed)
    prime(model, tokenizer, plan.seed)
    return tokenizer, model


def make_optimizers(model: LlamaForCausalLM, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between the layers, AdamW for embeddings and norms."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and "embed" not in name
        (matrices if is_matrix else others).append(parameter)
    return [
        torch.optim.Muon(
            matrices,
            lr=plan.matrix_rate,
            weight_decay=0.05,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=plan.vector_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_at(progress: float) -> float:
    """Scale the rates: a short rise, a plateau, and a fall over the last half."""
    if progress < 0.02:
        return max(progress / 0.02, 0.02)
    if progress < 0.5:
        return 1.0
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - 0.5) / 0.5))


def losses_of(
    model: Callable[..., object], batch: Batch, device: torch.device
) -> tuple[torch.Tensor, float]:
    """Return the weighted loss, and the mean loss over the answers (nan: none)."""
    with torch.autocast(device.type, torch.bfloat16):
        logits = model(input_ids=batch.inputs.to(device), use_cache=False).logits
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.to(device).flatten(), reduction="none"
    )
    weights = batch.weights.to(device).flatten()
    answers = losses.detach()[weights == ANSWER_WEIGHT]
    mean = answers.mean().item()
    return (losses * weights).sum() / weights.sum(), mean


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the folder in bf16, file by file, so that readers never see half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as written:
        copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
        copy.load_state_dict(model.state_dict())
        copy.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            max_new_tokens=320,
            do_sample=False,
        )
        copy.save_pretrained(written)
        tokenizer.save_pretrained(written)
        for path in Path(written).iterdir():
            path.chmod(0o644)
            path.replace(folder / path.name)


def average(values: list[torch.Tensor]) -> None:
    """Average tensors over the processes, in place and in one exchange."""
    if not distributed.is_initialized():
        return
    flat = torch.cat([value.flatten() for value in values])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for value, part in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(part.view_as(value))


def train(plan: Plan, folder: Path, device: torch.device, rank: int) -> None:
    """Train by the plan; the process of rank 0 shows, scores and saves."""
    tokenizer, model = start(plan)
    model.to(device)
    optimizers = make_optimizers(model, plan)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    # Plain products train 1.4 times as fast as the fused kernel on a CPU, in bf16.
    model.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")
    forward = torch.compile(model, dynamic=False) if plan.compiled else model
    teacher = Teacher(tokenizer, plan.seed + rank, plan.stage)
    started, shown, step, done = time.monotonic(), 0.0, 0, 0.0
    with _progress(disable=rank > 0) as progress:
        bar = progress.add_task("training", total=1.0, note="")
        while done < 1.0:
            step += 1
            loss, answer_loss = losses_of(forward, teacher.batch(plan.num_tokens), device)
            loss.backward()
            minutes = (time.monotonic() - started) / 60
            done = minutes / plan.minutes if plan.minutes else step / plan.num_steps
            told = torch.tensor([answer_loss, done], device=device)
            average([*(p.grad for p in model.parameters() if p.grad is not None), told])
            answer_loss, done = told.tolist()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * rate_at(done)
                optimizer.step()
                optimizer.zero_grad()
            if math.isfinite(answer_loss):
                teacher.hear(answer_loss, done)
                shown = answer_loss if step == 1 else 0.98 * shown + 0.02 * answer_loss
            note = f"step {step}, stage {teacher.stage}, answer loss {shown:.3f}"
            progress.update(bar, completed=min(done, 1.0), note=note)
            if rank > 0:
                continue
            if step % 25 == 0 and not progress.console.is_terminal:
                progress.console.print(f"{minutes:.1f} min: {note}")
            if step % plan.score_every == 0 or done >= 1.0:
                save(model, tokenizer, folder)
                scores = score_answers(model, tokenizer, num_cases=80, seed=plan.seed + step)
                progress.console.print(f"step {step}: {scores}")
    if rank == 0:
        print(f"trained {step} steps in {minutes:.1f} min on {device}")


def work(rank: int, plan: Plan, folder: Path, device: torch.device, meeting: str) -> None:
    """Train as one of several processes, each with its own lessons and one thread."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=plan.num_workers
    )
    train(plan, folder, device, rank)
    distributed.destroy_process_group()


def _progress(*, disable: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        disable=disable,
    )


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--start", type=Path, help="a trained folder to go on with")
    parser.add_argument("--stage", type=int, default=0, help="the stage of the lessons to begin at")
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop by the clock, not by steps"
    )
    parser.add_argument("--tokens", type=int, default=3072, help="tokens in a batch of one process")
    parser.add_argument("--matrix-rate", type=float, default=1.5e-3)
    parser.add_argument("--vector-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--score-every", type=int, default=400)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--workers", type=int, help="processes; 2 on a CPU, else 1")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    plan = Plan(
        num_steps=options.steps,
        minutes=options.minutes,
        num_tokens=options.tokens,
        matrix_rate=options.matrix_rate,
        vector_rate=options.vector_rate,
        seed=options.seed,
        score_every=options.score_every,
        compiled=options.compile,
        start=options.start,
        stage=options.stage,
        num_workers=options.workers or (2 if device.type == "cpu" else 1),
    )
    if plan.num_workers == 1:
        train(plan, options.folder, device, 0)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        multiprocessing.spawn(work, (plan, options.folder, device, meeting), plan.num_workers)


if __name__ == "__main__":
    main()
