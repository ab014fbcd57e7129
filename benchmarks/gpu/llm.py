"""Tokens per second of a Llama of 1.2 B, each way to compile beside transformers' `generate`.

All are engines in processes of their own, without a server, on the same folder and in the same
dtype. What one sequence reaches is held against the device's own copying: a step reads each weight.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.folders import make_llama, prompt_of
from benchmarks.gpu.bandwidth import copy_bytes_per_s
from benchmarks.gpu.setup import Setup
from benchmarks.gpu.side import COMPILE, Peer, Sides, engine, median, over
from benchmarks.peers.line_process import LineProcess


CLIENTS = (1, 4, 16)

GENERATE = "generate"

_COLUMNS = (
    "",
    "by",
    "tokens/s",
    "over generate, batched",
    "over generate, one by one",
    "of the bandwidth",
    "until ready, s",
    "until warm, s",
)


def llama_of(setup: Setup) -> tuple[Path, int]:
    """Make the Llama, unless it is there; give its folder and the bytes of its weights."""
    folder = setup.work / "llama"
    size = folder / "bytes.txt"
    if not size.exists():
        device = setup.device if setup.is_cuda else "cpu"
        shape = (
            {"hidden": 128, "layers": 2, "vocabulary": 2_048, "intermediate": 256}
            if setup.is_small
            else {"hidden": 2048, "layers": 16, "vocabulary": 128_256, "intermediate": 8192}
        )
        count = make_llama(folder, device=device, **shape)
        size.write_text(str(count * 2))
    return folder, int(size.read_text())


def model_yaml(folder: Path, compile_by: str, device: str) -> str:
    """Write a model file."""
    return (
        f"name: llama\nkind: llm\nsource: {folder}\ndtype: bfloat16\ndevices: [{device!r}]\n"
        f"compile: {compile_by}\nmax_length: 512\nmax_sequences: {max(CLIENTS)}\n"
    )


def measure(peer: Peer, clients: int, num_prompt: int, tokens: int) -> float:
    """Give tokens per second of so many sequences at once."""
    assert isinstance(peer, LineProcess)
    if peer.module != "benchmarks.peers.engine":
        order = {"clients": clients, "tokens": tokens, "prompt_tokens": num_prompt}
        return clients * tokens / peer.ask(**order, is_batched=True)["seconds"]
    params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    batch = [
        {"inputs": {"prompt": prompt_of(num_prompt, seed)}, "params": params}
        for seed in range(clients)
    ]
    return tokens * peer.ask(batch=batch, seconds=1e-3)["per_s"]  # one batch, to its end


def start(sides: Sides, setup: Setup, folder: Path) -> None:
    """Start a process for each side."""
    makers: dict[str, Callable[[], Peer]] = {
        name: partial(
            engine,
            model_yaml(folder, COMPILE[name], setup.device),
            setup.work / "llm" / name,
            device=setup.device,
        )
        for name in setup.sides
        if name != "max-autotune"
    }
    peer = ("benchmarks.peers.transformers_generate", str(folder), "bfloat16", setup.device)
    makers[GENERATE] = partial(LineProcess, *peer)
    sides.start(makers)


def main() -> None:
    """Measure each number of sequences."""
    setup = Setup.parse()
    num_prompt, tokens = (16, 16) if setup.is_small else (128, 128)
    folder, size = llama_of(setup)
    per_s = copy_bytes_per_s(setup.device, size=2**26 if setup.is_small else 2**30)
    report = setup.report("llm", f"Llama, {num_prompt} tokens in, {tokens} out", _COLUMNS)
    report.notes.append(
        f"{size / 2e9:.2f} B parameters in bfloat16, {size / 2**30:.2f} GiB; a copy on the device "
        f"moves {per_s / 1e9:,.0f} GB/s, read and written: {per_s / size:.0f} steps/s at most."
    )
    with ExitStack() as stack:
        sides = Sides(stack)
        start(sides, setup, folder)
        ways = {
            name: {count: partial(measure, peer, count, num_prompt, tokens) for count in CLIENTS}
            for name, peer in sides.open.items()
        }
        sides.warm({name: list(of.values()) for name, of in ways.items()})
        alone: float | str = "absent"
        for count in CLIENTS:
            calls = {name: of[count] for name, of in ways.items()}
            figures = sides.measure(calls, repeats=setup.repeats)
            batched = median(figures, GENERATE)
            alone = batched if count == 1 else alone
            for name in ways:
                speed = median(figures, name)
                report.add(
                    f"{count} at once",
                    name,
                    speed,
                    over(speed, batched),
                    over(speed, alone),
                    over(speed, per_s / size) if count == 1 else "",
                    sides.until_ready_s(name),
                    sides.until_warm_s(name),
                )
            sides.explain(report)
            report.write()


if __name__ == "__main__":
    main()
