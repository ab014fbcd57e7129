"""Pictures per second of a Stable Diffusion 1.5 through the server, each way to compile.

Eight requests that arrive apart over one at a time, and diffusers' own pipeline one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.gpu.setup import Setup
from benchmarks.gpu.side import COMPILE, Peer, Sides, median, over, server
from benchmarks.peers.line_process import LineProcess
from benchmarks.pictures import REQUESTS, Order, seconds_apart, seconds_in_turn
from benchmarks.pipelines import Widths, make_stable_diffusion
from benchmarks.report import Report
from benchmarks.server import Server


#: Name of a side → its seconds, repeat by repeat.
Figures = Mapping[str, Sequence[float]]

DIFFUSERS = "diffusers"

_SMALL = Widths(unet=(32, 64), vae=(32, 32, 32, 32), text=64, text_layers=2, latents=16)


def order_of(setup: Setup) -> Order:
    """Say how pictures are asked for: 25 ms apart on a GPU, a small part of a picture's time."""
    if setup.is_small:
        return Order(num_steps=2, guidance=7.5, apart_s=0.05)
    return Order(num_steps=10, guidance=7.5, apart_s=0.025)


def start(sides: Sides, setup: Setup) -> None:
    """Make the pipeline, and start a server for each side, and diffusers."""
    folder = setup.work / "stable_diffusion"
    widths = _SMALL if setup.is_small else Widths()
    if not (folder / "model_index.json").exists():
        make_stable_diffusion(folder, widths, dtype=setup.dtype, device=setup.device)
    text = (
        f"name: pictures\nkind: diffusion\nsource: {folder}\ndtype: {setup.dtype}\n"
        f"devices: [{setup.device!r}]\nmax_pictures: {REQUESTS}\n"
    )
    makers: dict[str, Callable[[], Peer]] = {
        name: partial(server, f"{text}compile: {COMPILE[name]}\n", setup.work / "pictures" / name)
        for name in setup.sides
        if name != "max-autotune"
    }
    peer = ("benchmarks.peers.diffusers_pipeline", str(folder), setup.dtype, setup.device)
    makers[DIFFUSERS] = partial(LineProcess, *peer)
    sides.start(makers)


def in_turn(peer: Peer, count: int, order: Order) -> float:
    """Give the seconds for pictures one at a time."""
    if isinstance(peer, Server):
        return seconds_in_turn(peer.url, "pictures", count, order)
    asked = {"num_steps": order.num_steps, "guidance": order.guidance}
    return peer.ask(count=count, **asked)["seconds"]


def main() -> None:
    """Measure all sides, in turn."""
    setup = Setup.parse()
    order = order_of(setup)
    report = setup.report(
        "pictures",
        f"{REQUESTS} pictures in {order.num_steps} steps with guidance, {setup.dtype}, "
        f"{order.apart_s * 1e3:.0f} ms apart or one at a time",
        (
            "",
            "one picture, s",
            "apart: /s",
            "one at a time: /s",
            "apart over one at a time",
            "one at a time over diffusers",
            "apart over diffusers",
            "until ready, s",
            "until warm, s",
        ),
    )
    with ExitStack() as stack:
        sides = Sides(stack)
        start(sides, setup)
        servers = {name: each for name, each in sides.open.items() if isinstance(each, Server)}
        apart_calls = {
            name: partial(seconds_apart, each.url, "pictures", REQUESTS, order)
            for name, each in servers.items()
        }
        calls = {name: partial(in_turn, each, REQUESTS, order) for name, each in sides.open.items()}
        one = {name: partial(in_turn, each, 1, order) for name, each in sides.open.items()}
        sides.warm(
            {name: [*filter(None, [apart_calls.get(name)]), one[name]] for name in sides.open}
        )
        figures: dict[str, Figures] = {"apart": {}, "alone": {}, "turns": {}}
        fill(report, sides, figures)
        for way, of in (("apart", apart_calls), ("alone", one), ("turns", calls)):
            figures[way] = sides.measure(of, repeats=setup.repeats)
            fill(report, sides, figures)


def fill(report: Report, sides: Sides, figures: Mapping[str, Figures]) -> None:
    """Write the rows of what has been measured so far."""
    apart, turns = figures["apart"], figures["turns"]
    report.rows.clear()
    for name in sides.open:
        report.add(
            name,
            median(figures["alone"], name),
            over(float(REQUESTS), median(apart, name)),
            over(float(REQUESTS), median(turns, name)),
            over(median(turns, name), median(apart, name)),
            over(median(turns, DIFFUSERS), median(turns, name)),
            over(median(turns, DIFFUSERS), median(apart, name)),
            sides.until_ready_s(name),
            sides.until_warm_s(name),
        )
    sides.explain(report)
    report.write()


if __name__ == "__main__":
    main()
