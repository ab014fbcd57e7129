"""What a draft model gives at best, and costs at worst: `python -m benchmarks.draft_model`.

No pair of models that were trained for each other is at hand. The tiny Llama of the examples is
widened to one of about 100 M that says the same, and guesses for it itself: it foresees nearly all,
which no real draft model does. One of its shape with random weights foresees nothing. Engines in
one process on `openvino:CPU` take turns at the example's questions with their passages, and at text
that is drawn; one more, which is like the one that guesses nothing, says how much two that are the
same differ.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.folders import widen_llama
from benchmarks.prompt_lookup import Side, questions
from benchmarks.rag import TINY_LLAMA
from benchmarks.report import Report, interleave, paired_ratio
from torchloom import huge_pages
from torchloom.device import Device
from torchloom.engine import Work
from torchloom_models.llm.opening import open_engine


#: Tokens that are guessed at once, and the width that makes a Llama of about 100 M.
GUESSED, INTERMEDIATE = 6, 21_248


def make_stranger(folder: Path) -> Path:
    """Write a Llama of the tiny one's shape and tokenizer, with random weights."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(TINY_LLAMA))
    model.bfloat16().save_pretrained(folder)
    for file in TINY_LLAMA.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def open_sides(folder: Path) -> Mapping[str, Side]:
    """Open the model once for each side."""
    source, stranger = folder / "wide", make_stranger(folder / "stranger")
    widen_llama(TINY_LLAMA, source, intermediate=INTERMEDIATE)
    config = {
        "source": str(source),
        "dtype": "bfloat16",
        "max_length": 1024,
        "artefacts": str(folder / "artefacts"),
        "prefix_cache": False,  # the same prompts again and again
    }
    drafts = {"again": None, "foreseeing": TINY_LLAMA, "stranger": stranger, "plain": None}
    sides = {}
    for name, draft in drafts.items():
        more = {"speculation": {"draft": str(draft), "tokens": GUESSED}} if draft else {}
        engine = open_engine({**config, **more}, Device.parse("openvino:CPU"), lambda *_: None)
        sides[name] = Side(engine)
    huge_pages.gather()
    return sides


def drawn() -> list[Work]:
    """Give tasks whose answers are drawn, and as long as they may be."""
    params = {"max_tokens": 48, "temperature": 0.7, "ignore_eos": True}
    prompts = ["The harbour", "A red circle and", "Each morning the boats", "Who built the mole"]
    return [
        Work(number, {"prompt": prompts[number % 4]}, {**params, "seed": number})
        for number in range(8)
    ]


def compare(
    report: Report, name: str, sides: Mapping[str, Side], works: Sequence[Work], at_once: int
) -> None:
    """Add a row."""
    calls: dict[str, Callable[[], float]] = {
        side: partial(each.run, works, at_once=at_once) for side, each in sides.items()
    }
    interleave(calls, repeats=1)  # warm-up
    for each in sides.values():
        each.num_tokens = each.num_steps = 0
    figures = interleave(calls, repeats=4)
    steps = {side: each.num_tokens / each.num_steps for side, each in sides.items()}
    report.add(
        name,
        at_once,
        *(steps[side] / steps["plain"] for side in ("foreseeing", "stranger")),
        statistics.median(figures["plain"]) / len(works) * 1e3,
        *(paired_ratio(figures[side], figures["plain"]) for side in calls if side != "plain"),
    )


def main() -> None:
    """Measure both kinds of text, alone and several at once."""
    report = Report(
        name="draft_model",
        title=f"A draft model of 5 M for a Llama of 100 M, {GUESSED} tokens at once",
        columns=(
            "",
            "at once",
            "tokens a step over without, foreseeing",
            "stranger",
            "ms an answer, without",
            "another without over it",
            "foreseeing over it",
            "stranger over it",
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        sides = open_sides(Path(folder))
        for at_once in (1, 4, 8):
            compare(report, "RAG, greedy", sides, questions()[:8], at_once)
            compare(report, "drawn, temperature 0.7", sides, drawn(), at_once)
    report.finish()


if __name__ == "__main__":
    main()
