"""How a model's code stands, in a table."""

from __future__ import annotations

import pytest

from torchloom_api.cli.code_column import code_rows, summarise


def _replica(state: str, *, pending: int = 0, failures: tuple[str, ...] = ()) -> dict[str, object]:
    part = {
        "part": "encode",
        "state": state,
        "num_compiled": 3,
        "pending": [f"int64 1x{n}" for n in range(pending)],
        "failures": list(failures),
    }
    return {"device": "cpu", "code": [part]}


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ([], None),
        ([{"device": "cpu"}], None),
        ([_replica("compiled")], "compiled"),
        ([_replica("compiling", pending=2), _replica("compiled")], "compiling 2, compiled"),
        ([_replica("eager", failures=("no luck",))], "eager (failed)"),
        ([_replica("eager"), _replica("none")], "eager, none"),
    ],
)
def test_sums_up_a_model(replicas: object, words: str | None) -> None:
    """One cell tells what compiles, what is compiled, and whether anything has failed."""
    assert summarise(replicas) == words


def test_tells_each_part_of_each_replica() -> None:
    """A reason is told by its first line, cut to what a table can bear, and is no markup."""
    (row,) = code_rows([_replica("compiling", pending=1, failures=("[bold]no\nmore", "x" * 999))])
    assert row[:5] == ("cpu", "encode", "compiling", 3, "int64 1x0")
    assert str(row[5]).startswith("\\[bold]no; xxx")
    assert len(str(row[5])) < 180
    assert code_rows(None) == []
