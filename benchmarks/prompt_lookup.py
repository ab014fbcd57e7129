"""What guessing by prompt lookup gives: `python -m benchmarks.prompt_lookup`.

Engines in one process on `openvino:CPU`, one of which guesses, take turns at the same tasks, and a
third, which is like the one that does not, says how much two that are the same differ:
the example's questions with their passages, which the tiny Llama answers by copying; and tokens
drawn by a Llama of about 100 M with random weights, which repeat nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.folders import make_llama, prompt_of
from benchmarks.rag import TINY_LLAMA
from benchmarks.report import Report, interleave, paired_ratio
from examples.tiny_models.handbook import read_passages, read_questions
from torchloom import huge_pages
from torchloom.device import Device
from torchloom.engine import Result, Work
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine


#: Tokens that are guessed at once.
GUESSED = 8


def questions() -> list[Work]:
    """Give the example's questions, each with its passage of the handbook and two others."""
    passages = read_passages()
    asked = [question for question in read_questions() if question.passage][:16]
    works = []
    for number, question in enumerate(asked):
        right = next(text for text in passages if str(question.passage) in text)
        shown = [right, passages[-1 - number], passages[-2 - number]]
        works.append(_ask(number, question.question, shown))
    return works


def _ask(number: int, question: str, passages: Sequence[str]) -> Work:
    listed = "\n".join(f"[{place}] {text.strip()}" for place, text in enumerate(passages, 1))
    messages = [
        {"role": "system", "content": "Answer from the passages alone."},
        {"role": "user", "content": f"{listed}\nQuestion: {question}"},
    ]
    return Work(number, {"messages": messages}, {"max_tokens": 64, "temperature": 0})


def drawn() -> list[Work]:
    """Give prompts whose answers are drawn from the whole vocabulary."""
    params = {"max_tokens": 32, "temperature": 1.0, "ignore_eos": True}
    return [
        Work(number, {"prompt": prompt_of(32, number)}, {**params, "seed": number})
        for number in range(8)
    ]


class Side:
    """An engine, and how many tokens it has written in how many steps."""

    def __init__(self, engine: LlmEngine) -> None:
        self._engine = engine
        self.num_tokens = self.num_steps = 0

    def run(self, works: Sequence[Work], *, at_once: int = 1) -> float:
        """Give the seconds of all tasks, so many at once."""
        began = time.perf_counter()
        for place in range(0, len(works), at_once):
            for work in works[place : place + at_once]:
                self._engine.admit(work)
            while not self._engine.is_idle:
                for event in self._engine.step():
                    if isinstance(event, Result):
                        self.num_tokens += int(event.counts["completion_tokens"])
                self.num_steps += 1
        return time.perf_counter() - began


def open_sides(source: str, dtype: str, folder: str) -> Mapping[str, Side]:
    """Open the model once for each side."""
    config = {
        "source": source,
        "dtype": dtype,
        "max_length": 1024,
        "artefacts": folder,
        "prefix_cache": False,  # the same prompts again and again
    }
    extra: Mapping[str, Mapping[str, object]] = {
        "again": {},
        "guessing": {"speculation": {"prompt_lookup": GUESSED}},
        "plain": {},
    }
    sides = {
        name: Side(open_engine({**config, **more}, Device.parse("openvino:CPU"), lambda *_: None))
        for name, more in extra.items()
    }
    huge_pages.gather()
    return sides


def compare(report: Report, name: str, sides: Mapping[str, Side], works: Sequence[Work]) -> None:
    """Add a row."""
    calls: dict[str, Callable[[], float]] = {
        name: partial(side.run, works) for name, side in sides.items()
    }
    interleave(calls, repeats=1)  # warm-up
    figures = interleave(calls, repeats=9)
    report.add(
        name,
        sides["guessing"].num_tokens / sides["guessing"].num_steps,
        *(statistics.median(figures[side]) / len(works) * 1e3 for side in ("guessing", "plain")),
        *(paired_ratio(figures[side], figures["plain"]) for side in ("guessing", "again")),
    )


def main() -> None:
    """Measure both kinds of text."""
    report = Report(
        name="prompt_lookup",
        title=f"Prompt lookup, {GUESSED} tokens at once, one request at a time",
        columns=(
            "",
            "tokens a step",
            "ms an answer",
            "without",
            "with over without",
            "another without over it",
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        tiny = open_sides(str(TINY_LLAMA), "float32", folder)
        compare(report, "RAG, copied from passages (tiny Llama)", tiny, questions())
        make_llama(Path(folder) / "llama", hidden=768, layers=12)
        large = open_sides(f"{folder}/llama", "bfloat16", folder)
        compare(report, "drawn, nothing repeats (Llama of 100 M)", large, drawn())
    report.finish()


if __name__ == "__main__":
    main()
