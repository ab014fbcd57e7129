"""The two consoles, and how tables and bars look on them. Knows nothing of what they show."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


#: Columns where there is no terminal: enough for tables not to be cut.
_WIDE = 200

#: Answers go here, so that they can be piped on.
screen = Console(width=None if sys.stdout.isatty() else _WIDE)

#: Progress, timings and errors go here.
error_screen = Console(stderr=True)


def print_json(value: object) -> None:
    """Print a JSON value: indented and coloured for a person, compact for a pipe."""
    if screen.is_terminal:
        screen.print_json(data=value)
    else:
        screen.file.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; a cell that is None stays empty."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    screen.print(table, highlight=False)


def print_values(view: Mapping[str, object], names: Sequence[str]) -> None:
    """Print some values of an object under each other; what is empty is left out."""
    table = Table.grid(padding=(0, 2))
    for name in names:
        value = view.get(name)
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if text not in (None, ""):
            table.add_row(f"[bold]{name}[/]", str(text))
    screen.print(table, highlight=False)


def print_documents(documents: Iterable[Mapping[str, object]], console: Console = screen) -> None:
    """Print documents of an index, one a line: number, score, id, and as much text as fits."""
    for number, document in enumerate(documents, 1):
        score = document.get("score")
        mark = f"{score:.2f} " if isinstance(score, float) else ""
        text = " ".join(str(document["text"]).split())
        line = Text(f"  [{number}] {mark}{document.get('id', '')}: {text}")
        console.print(line, no_wrap=True, overflow="ellipsis")


def make_bar(console: Console = error_screen) -> Progress:
    """Give progress bars: what, how much, what is being done (`doing`), for how long."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[doing]}", style="dim"),
        TimeElapsedColumn(),
        console=console,
    )
