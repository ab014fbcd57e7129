"""Time to the first picture of the multi-image example on a device, with the live edge and not."""

from __future__ import annotations

from benchmarks.gpu.setup import Setup
from benchmarks.multi_image import COUNTS, TINY_MODELS, add_rows, measure_ways, write_workflows
from benchmarks.server import Server


def main() -> None:
    """Measure four pictures, and eight."""
    setup = Setup.parse()
    report = setup.report(
        "multi_image",
        "Pictures of an idea by the example's models, through the server",
        ("", "first picture, s", "last picture, s", "first over chain", "last over chain"),
    )
    folder = setup.work / "multi_image"
    folder.mkdir(parents=True, exist_ok=True)
    files = write_workflows(folder, TINY_MODELS / "tiny_llama", device=setup.device)
    with Server(*files, store=folder / "store") as server:
        report.notes.append(f"Until ready: {server.ready_s:.1f} s.")
        for count in COUNTS:
            add_rows(report, str(count), measure_ways(server.url, count, repeats=setup.repeats))
            report.write()


if __name__ == "__main__":
    main()
