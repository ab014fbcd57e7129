"""Train the tiny Llama from scratch: `python -m examples.tiny_models.train_llama`.

Owns the model's size, the optimisers, the schedule and the plans. What is taught is in `lesson`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Annotated

import torch
from rich.console import Console
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
from .faculty import Faculty
from .lesson import ANSWER_WEIGHT, LENGTHS, Batch, Course
from .passages import make_case
from .pictures import make_picture_case
from .plan import Plan, name_of, read_plan
from .priming import prime
from .schedule import Clock
from .tokenizer import MAX_NUMBERED, train_tokenizer


FOLDER = Path(__file__).parent / "tiny_llama"
VOCAB_SIZE = 1024
MAX_POSITIONS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaPlan(Plan):
    """How long and how fast to train the Llama."""

    folder: Annotated[Path, "where to write the trained folder"] = FOLDER
    stage: Annotated[int, "the stage of the lessons to begin at"] = 0
    tokens: Annotated[int, "tokens in a step, however many processes share it"] = 6144
    matrix_rate: Annotated[float, "learning rate of the matrices between the layers"] = 1.5e-3
    vector_rate: Annotated[float, "learning rate of embeddings and norms"] = 1.5e-3
    workers: Annotated[int, "processes that share a step"] = 1
    makers: Annotated[
        int, "further processes that make lessons ahead; with 0, each worker does"
    ] = 0

    def __post_init__(self) -> None:
        """Refuse a step too small for each worker to have a lesson."""
        if self.tokens < LENGTHS[-1] * self.workers:
            raise ValueError(
                f"{self.tokens} tokens are too few for {self.workers} workers:"
                f" give each at least {LENGTHS[-1]}"
            )


ON_CPU = LlamaPlan(steps=6500, workers=2, score_every=400)
PLANS = {
    "cpu": ON_CPU,
    "cuda": replace(ON_CPU, device="cuda", steps=12_000, workers=1, makers=4, score_every=1500),
}


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


def start(plan: LlamaPlan) -> tuple[PreTrainedTokenizerFast, LlamaForCausalLM]:
    """Make tokenizer and model afresh, or take both from a folder to go on with."""
    if plan.start is not None:
        tokenizer = AutoTokenizer.from_pretrained(plan.start)
        return tokenizer, LlamaForCausalLM.from_pretrained(plan.start, dtype=torch.float32)
    tokenizer = make_tokenizer(plan.seed)
    model = make_model(tokenizer, plan.seed)
    prime(model, tokenizer, plan.seed)
    return tokenizer, model


def make_optimizers(model: LlamaForCausalLM, plan: LlamaPlan) -> list[torch.optim.Optimizer]:
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
        torch.optim.AdamW(
            others, lr=plan.vector_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        ),
    ]


def rate_at(progress: float) -> float:
    """Scale the rates: a short rise, a plateau, and a fall over the last half."""
    if progress < 0.02:
        return max(progress / 0.02, 0.02)
    if progress < 0.5:
        return 1.0
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - 0.5) / 0.5))


def losses_of(model: Callable[..., object], batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the losses, and the sum over the answers alone."""
    with torch.autocast(batch.inputs.device.type, torch.bfloat16):
        logits = model(input_ids=batch.inputs, use_cache=False).logits
    losses = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), reduction="none"
    )
    weights = batch.weights.flatten()
    return (losses * weights).sum(), (losses.detach() * (weights == ANSWER_WEIGHT)).sum()


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
        tokenizer.backend_tokenizer.no_padding()  # scoring has it pad
        tokenizer.save_pretrained(written)
        for path in Path(written).iterdir():
            path.chmod(0o644)
            path.replace(folder / path.name)


def add_up(values: list[torch.Tensor]) -> None:
    """Add up tensors over the processes, in place and in one exchange."""
    if not distributed.is_initialized():
        return
    flat = torch.cat([value.flatten() for value in values])
    distributed.all_reduce(flat)
    for value, part in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(part.view_as(value))


def learn(
    forward: Callable[..., object], batch: Batch, parameters: list[torch.nn.Parameter], done: float
) -> tuple[float, float]:
    """Give the parameters the gradients of a batch, whose rows all processes share.

    Return the mean loss over its answers (nan: none), and `done` as the first process sees it.
    """
    rank, num_workers = 0, 1
    if distributed.is_initialized():
        rank, num_workers = distributed.get_rank(), distributed.get_world_size()
    loss, answers = losses_of(forward, batch.part(rank, num_workers, parameters[0].device))
    (loss / batch.weight).backward()
    told = torch.stack([answers, answers.new_tensor(0.0 if rank else done)])
    add_up([*(value.grad for value in parameters if value.grad is not None), told])
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    total, done = told.tolist()
    return total / batch.num_answers if batch.num_answers else math.nan, done


def train(plan: LlamaPlan, rank: int = 0) -> None:
    """Train by the plan; the process of rank 0 shows, scores and saves."""
    device = torch.device(plan.device)
    tokenizer, model = start(plan)
    model.to(device).train()
    # Plain products train 1.4 times as fast as the fused kernel on a CPU, in bf16.
    model.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")
    forward = torch.compile(model, dynamic=False) if plan.compile else model
    parameters, optimizers = list(model.parameters()), make_optimizers(model, plan)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    course, done = Course(plan.stage), 0.0
    faculty = Faculty(tokenizer, seed=plan.seed, num_tokens=plan.tokens, num_processes=plan.makers)
    clock = Clock(
        "llama", num_steps=plan.steps, minutes=plan.minutes, console=Console(quiet=rank > 0)
    )
    with faculty, clock:
        while done < 1.0:
            clock.step += 1
            batch = faculty.take(course.stage)
            answer_loss, done = learn(forward, batch, parameters, clock.done)
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * rate_at(done)
                optimizer.step()
                optimizer.zero_grad()
            if math.isfinite(answer_loss):
                clock.tell(answer_loss)
                if course.hear(answer_loss, batch.stage, done):
                    clock.say(f"step {clock.step}: on to stage {course.stage}")
            if rank == 0 and (clock.step % plan.score_every == 0 or done >= 1.0):
                save(model, tokenizer, plan.folder)
                scores = score_answers(model, tokenizer, num_cases=80, seed=plan.seed + clock.step)
                clock.say(f"step {clock.step}: {scores}")
    clock.say(f"{clock.step} steps in {clock.spent_s / 60:.1f} min on {name_of(device)}")


def work(rank: int, plan: LlamaPlan, meeting: str) -> None:
    """Train as one of several processes of one thread each."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=plan.workers
    )
    train(plan, rank)
    distributed.destroy_process_group()


def main() -> None:
    """Read the command line and train."""
    plan = read_plan(PLANS, __doc__ or "")
    if plan.workers == 1:
        train(plan)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        multiprocessing.spawn(work, (plan, meeting), plan.workers)


if __name__ == "__main__":
    main()
