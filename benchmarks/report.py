"""Report: what a benchmark says: the machine, the command, rows of medians, ratios pair by pair.

Knows no benchmark. Every report is written as JSON, under `benchmarks/results/` unless told
otherwise, and printed as a table.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


RESULTS = Path(__file__).parent / "results"

_PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "diffusers",
    "litestar",
    "uvicorn",
    "openvino",
    "qdrant-edge-py",
    "mosec",
)


def interleave(
    sides: Mapping[str, Callable[[], float]], *, repeats: int = 5
) -> dict[str, list[float]]:
    """Measure the sides in turn, A B A B …, and give each one's figures in order."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, measure in sides.items():
            figures[name].append(measure())
    return figures


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Give the median of the ratios ours/theirs, pair by pair."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(kw_only=True)
class Report:
    """One benchmark's findings. `facts` are added to what is said of the machine."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: Mapping[str, object] = field(default_factory=dict)
    folder: Path = RESULTS
    command: str = ""

    def add(self, *cells: object) -> None:
        """Add a row; floats are shown with three digits."""
        self.rows.append(cells)

    def finish(self) -> None:
        """Print the table and write the JSON."""
        self.write()
        print_table(Console(), self.title, self.columns, self.rows, self.notes)

    def write(self) -> None:
        """Write the JSON of what there is so far."""
        document = {
            "title": self.title,
            "command": self.command or f"python -m benchmarks.{self.name}",
            "date": time.strftime("%Y-%m-%d"),
            "machine": {**describe_machine(), **self.facts},
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "notes": self.notes,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def print_table(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str],
) -> None:
    """Print rows as a table, and the notes below it."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*(_show(cell) for cell in row))
    console.print(table)
    for note in notes:
        console.print(f"  {note}", highlight=False)


def _show(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) and abs(cell) < 1000 else _show_large(cell)


def _show_large(cell: object) -> str:
    return f"{cell:,.0f}" if isinstance(cell, float) else str(cell)


def describe_machine() -> dict[str, object]:
    """Give processor, cores, memory and versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30),
        "python": sys.version.split()[0],
        "versions": versions,
    }
