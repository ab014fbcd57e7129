"""What running prompts in pieces gives: `python -m benchmarks.chunked_prefill`.

A Llama of about 100 M on `openvino:CPU`, without a server. Four sequences write while long prompts
arrive, one after another: the time between their tokens, and the time to the first token of the
long prompt, with pieces of the size that the engine takes and with a budget that takes the prompt
whole. Both engines are in one process and take turns.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.folders import make_llama, prompt_of
from benchmarks.report import Report, interleave, paired_ratio
from torchloom.device import Device
from torchloom.engine import Event, Result, Work
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine
from torchloom_models.llm.scheduler import Budget


#: Sequences that write, words of a long prompt, and how many of these arrive in a measurement.
WRITERS, PROMPT, ARRIVALS = 4, 1900, 2

#: Tokens that each writes before and after a long prompt.
BETWEEN = 8

_GREEDY: Mapping[str, object] = {"ignore_eos": True, "temperature": 0}


class Side:
    """An engine, and the seconds between tokens of those that write: one token a step."""

    def __init__(self, engine: LlmEngine) -> None:
        self._engine = engine
        self._ids = itertools.count()
        self.gaps: list[float] = []
        self.prompt_tokens = 0

    def run(self) -> float:
        """Have all write while long prompts arrive; give the seconds to these' first token."""
        writers = [next(self._ids) for _ in range(WRITERS)]
        for task in writers:
            params = {**_GREEDY, "max_tokens": 1024}
            self._engine.admit(Work(task, {"prompt": prompt_of(32, task)}, params))
        self._engine.step()
        waits = [self._arrive() for _ in range(ARRIVALS)]
        for task in writers:
            self._engine.cancel(task)
        return statistics.mean(waits)

    def _arrive(self) -> float:
        """Run a long prompt to its first token beside the others."""
        for _ in range(BETWEEN):
            self._step()
        task, began = next(self._ids), time.perf_counter()
        prompt = {"prompt": f"{task} {prompt_of(PROMPT, task)}"}
        self._engine.admit(Work(task, prompt, {**_GREEDY, "max_tokens": 1}))
        while not (ends := [each for each in self._step() if isinstance(each, Result)]):
            pass
        self.prompt_tokens = ends[0].counts["prompt_tokens"]
        taken = time.perf_counter() - began
        for _ in range(BETWEEN):
            self._step()
        return taken

    def _step(self) -> list[Event]:
        began = time.perf_counter()
        events = self._engine.step()
        self.gaps.append(time.perf_counter() - began)
        return events


def open_engine_in(folder: str) -> LlmEngine:
    """Open the model, which shares nothing between prompts."""
    config = {
        "source": f"{folder}/llama",
        "dtype": "bfloat16",
        "max_length": 2048,
        "max_sequences": WRITERS + 1,
        "artefacts": folder,
        "prefix_cache": False,
    }
    return open_engine(config, Device.parse("openvino:CPU"), lambda *_: None)


def compare(report: Report, pieces: Side, whole: Side) -> None:
    """Add the rows."""
    sides = (pieces, whole)
    calls: dict[str, Callable[[], float]] = {"pieces": pieces.run, "whole": whole.run}
    interleave(calls, repeats=1)  # warm-up
    for side in sides:
        side.gaps.clear()
    waits = interleave(calls, repeats=5)
    found = [statistics.quantiles(side.gaps, n=100) for side in sides]
    for percent in (50, 99):
        ours, theirs = (cuts[percent - 1] * 1e3 for cuts in found)
        report.add(f"between tokens of a writer, p{percent}", ours, theirs, ours / theirs)
    ours, theirs = (max(side.gaps) * 1e3 for side in sides)
    report.add("between tokens of a writer, longest", ours, theirs, ours / theirs)
    report.add(
        "to the first token of the long prompt",
        *(statistics.median(waits[name]) * 1e3 for name in calls),
        paired_ratio(waits["pieces"], waits["whole"]),
    )
    report.notes.append(f"the last long prompt had {pieces.prompt_tokens} tokens")


def main() -> None:
    """Measure both budgets."""
    with tempfile.TemporaryDirectory() as folder:
        make_llama(Path(folder) / "llama", hidden=768, layers=12)
        pieces, whole = open_engine_in(folder), open_engine_in(folder)
        whole.budget = Budget(alone=4096, beside=4096)
        report = Report(
            name="chunked_prefill",
            title=(
                f"{WRITERS} sequences write while prompts of some {PROMPT} tokens arrive, ms; in "
                f"pieces of {pieces.budget.beside} tokens, or whole"
            ),
            columns=("", "in pieces", "whole", "in pieces over whole"),
        )
        compare(report, Side(pieces), Side(whole))
    report.finish()


if __name__ == "__main__":
    main()
