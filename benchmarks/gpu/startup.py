"""Start of a server to the first answer of the Llama, with nothing kept and with what was kept."""

from __future__ import annotations

import statistics

from benchmarks.folders import prompt_of
from benchmarks.gpu.llm import llama_of, model_yaml
from benchmarks.gpu.setup import Setup
from benchmarks.gpu.side import COMPILE
from benchmarks.report import paired_ratio
from benchmarks.startup import start_twice


def main() -> None:
    """Start each way to compile anew and again."""
    setup = Setup.parse()
    folder, _ = llama_of(setup)
    report = setup.report(
        "startup",
        "Start of the server to the first answer of the Llama, s",
        ("", "first start", "second start", "second over first", "pairs"),
    )
    params = {"max_tokens": 1, "temperature": 0}
    body = {"inputs": {"prompt": prompt_of(16, 0)}, "params": params}
    place = setup.work / "startup"
    place.mkdir(parents=True, exist_ok=True)
    file = place / "model.yaml"
    file.write_text(model_yaml(folder, COMPILE["inductor"], setup.device), "utf-8")
    figures: dict[str, list[float]] = {"first": [], "second": []}
    for repeat in range(max(setup.repeats // 2, 1)):  # a pair takes a minute and more
        store = place / f"store-{repeat}"
        pair = start_twice(file, store, "/api/models/llama/predict", body, repeats=1)
        for name, of in pair.items():
            figures[name] += of
        report.rows.clear()
        report.add(
            "inductor",
            statistics.median(figures["first"]),
            statistics.median(figures["second"]),
            paired_ratio(figures["second"], figures["first"]),
            len(figures["first"]),
        )
        report.write()


if __name__ == "__main__":
    main()
