"""How the loading of models is shown."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from torchloom_api.cli.loading import LoadingBoard


def test_writes_a_line_for_each_step_where_there_is_no_terminal() -> None:
    """A log gets one line a step, not one for each percent of it."""
    page = StringIO()
    with LoadingBoard(Console(file=page, width=80)) as board:
        board.report("llama@1 on cpu", "loading", None)
        board.report("llama@1 on cpu", "compiling", 0.1)
        board.report("llama@1 on cpu", "compiling", 0.9)
        board.finish()
    assert page.getvalue().splitlines() == [
        "llama@1 on cpu: loading",
        "llama@1 on cpu: compiling",
        "llama@1 on cpu: ready",
    ]


def test_shows_a_bar_for_each_model_on_a_terminal() -> None:
    """On a terminal every model has its own bar, with what is being done."""
    page = StringIO()
    console = Console(file=page, width=80, force_terminal=True, color_system=None)
    with LoadingBoard(console) as board:
        board.report("minilm@1 on cpu", "warming up", 0.5)
        board.report("llama@1 on cpu", "compiling", None)
        board.finish()
    last = [line for line in page.getvalue().splitlines() if "@1" in line][-2:]
    assert [("minilm" in line, "ready" in line) for line in last] == [(True, True), (False, True)]
