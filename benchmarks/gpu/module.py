"""Tasks per second of modules of one's own in process, each way to compile."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from safetensors.torch import save_file

from benchmarks.gpu.setup import Setup
from benchmarks.gpu.side import COMPILE, Peer, Sides, engine, median, over
from benchmarks.peers.line_process import LineProcess
from benchmarks.perceptron import Perceptron
from benchmarks.report import Report
from benchmarks.residual import Residual


SECONDS = 1.0
TASKS = 16

MODULES = {
    "perceptron of two layers": Perceptron,
    "residual network, 24 convolutions of 128 at 32 by 32": Residual,
}


def start(sides: Sides, setup: Setup, module: type[Perceptron | Residual]) -> None:
    """Start a process for each way; what tunes itself by the clock starts alone."""
    name, width = module.__name__, module.WIDTH
    file = setup.work / f"{name}.safetensors"
    save_file(module().state_dict(), file)
    text = (
        f"name: module\nkind: module\nsource: {file}\nclass: {module.__module__}:{name}\n"
        f"inputs: {{x: {{shape: [{width}], dtype: float32}}}}\ndtype: float32\n"
        f"devices: [{setup.device!r}]\n"
    )
    makers = {
        side: partial(
            engine,
            f"{text}compile: {COMPILE[side]}\n",
            setup.work / f"{name}-{side}",
            device=setup.device,
            functions=[module.__module__],
        )
        for side in setup.sides
    }
    tuned = {side: make for side, make in makers.items() if side == "max-autotune"}
    sides.start({side: make for side, make in makers.items() if side not in tuned})
    sides.start(tuned)


def per_s(peer: Peer, width: int) -> float:
    """Give tasks per second, sixteen at once."""
    assert isinstance(peer, LineProcess)
    batch = [{"inputs": {"x": [round(0.1 * n, 1)] * width}} for n in range(TASKS)]
    return peer.ask(batch=batch, seconds=SECONDS)["per_s"]


def compare(report: Report, setup: Setup, case: str, module: type[Perceptron | Residual]) -> None:
    """Measure one module."""
    with ExitStack() as stack:
        sides = Sides(stack)
        start(sides, setup, module)
        calls = {name: partial(per_s, each, module.WIDTH) for name, each in sides.open.items()}
        sides.warm({name: [call] for name, call in calls.items()})
        figures = sides.measure(calls, repeats=setup.repeats)
        for name in setup.sides:
            report.add(
                case,
                name,
                median(figures, name),
                over(median(figures, name), median(figures, "eager")),
                sides.until_ready_s(name),
                sides.until_warm_s(name),
            )
        sides.explain(report)
        report.write()


def main() -> None:
    """Measure all modules."""
    setup = Setup.parse()
    report = setup.report(
        "module",
        f"Modules in float32, {TASKS} tasks at once: tasks/s",
        ("", "by", "tasks/s", "over eager", "until ready, s", "until warm, s"),
    )
    for case, module in MODULES.items():
        compare(report, setup, case, module)


if __name__ == "__main__":
    main()
