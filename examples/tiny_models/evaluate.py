"""Score the tiny models: `python -m examples.tiny_models.evaluate`. The last line is JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from rich.progress import track
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from .handbook import Question, Retriever, read_passages, read_questions
from .lesson import RAG_SYSTEM
from .painter import FEW_STEPS, NUM_STEPS, load_pipeline, score_pictures
from .painter import FOLDER as PAINTER_FOLDER
from .passages import REFUSAL, Case, Split, make_case, to_prompt
from .pictures import PictureCase, fits, make_picture_case


FOLDER = Path(__file__).parent / "tiny_llama"
#: Share of the scored cases whose passages do not answer the question.
REFUSAL_SHARE = 0.3
#: Names and numbers kept out of training; then in wordings kept out of it, too.
SCORED: tuple[Split, ...] = ("held_out", "reworded")
ANSWER_TOKENS = 40
PICTURE_TOKENS = 240

Messages = list[dict[str, str]]


def rag_messages(prompt: str) -> Messages:
    """Say the prompt as the RAG workflow does."""
    return [{"role": "system", "content": RAG_SYSTEM}, {"role": "user", "content": prompt}]


def picture_messages(prompt: str) -> Messages:
    """Say the prompt as the picture workflow does."""
    return [{"role": "user", "content": prompt}]


@torch.inference_mode()
def answer_all(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    chats: Sequence[Messages],
    *,
    max_new_tokens: int,
    batch_size: int = 40,
    shown: str = "",
) -> list[str]:
    """Answer each chat greedily, in batches of like length; same order as given.

    With `shown`, a progress bar of that name is drawn on stderr.
    """
    prompts = [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        for chat in chats
    ]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    starts: Iterable[int] = range(0, len(order), batch_size)
    if shown:
        starts = track(starts, description=shown, console=Console(stderr=True))
    for start in starts:
        chosen = order[start : start + batch_size]
        inputs = tokenizer(
            [prompts[index] for index in chosen],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
            return_token_type_ids=False,
        ).to(model.device)
        outputs = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        texts = tokenizer.batch_decode(
            outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for index, text in zip(chosen, texts, strict=True):
            answers[index] = text
    return answers


def share(flags: Iterable[bool]) -> float:
    """Give the share of true flags, 0 for none."""
    values = list(flags)
    return sum(values) / len(values) if values else 0.0


def make_cases(num_cases: int, seed: int, split: Split) -> tuple[list[Case], list[PictureCase]]:
    """Make cases of one split, and a third as many picture cases."""
    random = Random(f"{split} {seed}")
    cases = [make_case(random, split=split, refusals=REFUSAL_SHARE) for _ in range(num_cases)]
    pictures = [make_picture_case(random, split=split) for _ in range(num_cases // 3)]
    return cases, pictures


def score_answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    num_cases: int,
    seed: int,
    split: Split = "held_out",
    shown: bool = False,
) -> dict[str, float]:
    """Score generated cases of one split: exact answers, right refusals, well-formed prompts."""
    was_training = model.training
    model.eval()
    cases, pictures = make_cases(num_cases, seed, split)
    answers = answer_all(
        model,
        tokenizer,
        [rag_messages(case.prompt) for case in cases],
        max_new_tokens=ANSWER_TOKENS,
        shown="answers" if shown else "",
    )
    drawn = answer_all(
        model,
        tokenizer,
        [picture_messages(case.prompt) for case in pictures],
        max_new_tokens=PICTURE_TOKENS,
        shown="picture prompts" if shown else "",
    )
    model.train(was_training)
    right = [
        (case.span is None, answer == case.answer)
        for answer, case in zip(answers, cases, strict=True)
    ]
    return {
        "answer_exact": share(ok for refused, ok in right if not refused),
        "refusal_right": share(ok for refused, ok in right if refused),
        "prompts_well_formed": share(
            fits(case, answer) for answer, case in zip(drawn, pictures, strict=True)
        ),
    }


def answer_handbook(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[Question],
    tops: Sequence[Sequence[str]],
    *,
    shown: bool = False,
) -> list[str]:
    """Answer each question from the passages that retrieval found for it."""
    chats = [
        rag_messages(to_prompt(top, question.question))
        for question, top in zip(questions, tops, strict=True)
    ]
    return answer_all(
        model,
        tokenizer,
        chats,
        max_new_tokens=ANSWER_TOKENS,
        shown="handbook" if shown else "",
    )


def score_handbook(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, shown: bool = False
) -> dict[str, float]:
    """Score retrieval over the handbook, and the whole pipeline over its questions."""
    questions = read_questions()
    tops = Retriever(read_passages()).top([question.question for question in questions])
    answers = answer_handbook(model, tokenizer, questions, tops, shown=shown)
    hits = [
        any(question.passage in passage for passage in top)
        for question, top in zip(questions, tops, strict=True)
        if question.passage is not None
    ]
    exact = [
        answer == (question.answer or REFUSAL)
        for question, answer in zip(questions, answers, strict=True)
    ]
    return {"retrieval_hit": share(hits), "rag_exact": share(exact)}


def main() -> None:
    """Read the command line, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--cases", type=int, default=400, help="held-out cases to score")
    parser.add_argument("--painter", type=Path, default=PAINTER_FOLDER, help="Stable Diffusion")
    parser.add_argument("--pictures", type=int, default=200, help="held-out prompts to paint")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.float32).eval()
    held_out, reworded = (
        score_answers(
            model, tokenizer, num_cases=options.cases, seed=options.seed, split=split, shown=True
        )
        for split in SCORED
    )
    handbook = score_handbook(model, tokenizer, shown=True)
    pipeline = load_pipeline(options.painter)
    painted, painted_fast = (
        score_pictures(
            pipeline,
            num_prompts=options.pictures,
            seed=options.seed,
            num_steps=num_steps,
            shown=f"pictures in {num_steps} steps",
        )
        for num_steps in (NUM_STEPS, FEW_STEPS)
    )
    print(f"In wordings kept out of training, too: {_rounded(reworded)}")
    print(f"Pictures in {FEW_STEPS} steps: {_rounded(painted_fast)}")
    print(_rounded(held_out | handbook | painted))


def _rounded(scores: dict[str, float]) -> str:
    return json.dumps({name: round(value, 4) for name, value in scores.items()})


if __name__ == "__main__":
    main()
