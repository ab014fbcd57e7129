"""What calls have asked for, and what is noted of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from torchloom_models import demand as demand_module
from torchloom_models.demand import MAX_COUNTED, MAX_NOTED, Demand, Like, describe


pytestmark = pytest.mark.slow


def ask(demand: Demand, *sizes: int) -> None:
    """Count a call for each size."""
    for size in sizes:
        demand.count(size, (torch.ones(size),))


def sizes(demand: Demand) -> list[int]:
    """Give the sizes that are noted."""
    return [like.shape[0] for (like,) in demand.layouts()]


def test_describes_a_tensor_but_for_its_values() -> None:
    """Dtype, shape and strides come back, with any memory behind them."""
    tensor = torch.ones(3, 4, dtype=torch.bfloat16).t()
    blank = Like.of(tensor).blank("cpu")

    assert (blank.dtype, blank.shape, blank.stride()) == (torch.bfloat16, (4, 3), (1, 4))
    with pytest.raises(RuntimeError, match="no dtype 'float31'"):
        Like("float31", (1,), (1,)).blank("cpu")


def test_says_a_layout_in_words() -> None:
    """Arguments that are alike are named once, and of many kinds the first few."""
    ids, cache = torch.ones(2, 16, dtype=torch.long), torch.ones(2, 4, 8)
    likes = tuple(Like.of(tensor) for tensor in (ids, torch.tensor(1.0), cache, cache))
    assert describe(likes) == "int64 2x16, float32 scalar, float32 2x4x8"
    more = tuple(Like.of(torch.ones(size)) for size in (1, 2))
    assert describe((*likes, *more)).endswith("float32 2x4x8 and 2 more")


def test_notes_what_was_asked_for_most_first(tmp_path: Path) -> None:
    """The note is there for the next start; what is counted again is added, never twice."""
    file = tmp_path / "demand" / "encode.json"
    first = Demand(file)
    ask(first, 1, 2, 2, 3, 3, 3)
    first.save()
    first.save()
    assert sizes(Demand(file)) == [3, 2, 1]

    second = Demand(file)
    ask(second, 1, 1, 1)
    assert second[1] == 3
    second.save()
    ask(first, 2)
    first.save()

    counts = {note["layout"]: note["count"] for note in json.loads(file.read_text())}
    assert counts == {"1": 4, "2": 3, "3": 3}
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".json"] == [file.name]


def test_notes_a_bounded_number(tmp_path: Path) -> None:
    """However many sizes come by, the note stays small, and keeps the popular ones."""
    demand = Demand(tmp_path / "n.json")
    ask(demand, *([7] * 50), *range(10, 10 + 2 * MAX_COUNTED), 7)

    demand.save()

    assert len(sizes(demand)) == MAX_NOTED
    assert sizes(demand)[0] == 7
    assert len(demand._counts) <= MAX_COUNTED
    assert demand[7] == 51


def test_forgets_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic of long ago does not outweigh that of today for ever."""
    monkeypatch.setattr(demand_module, "_MAX_COUNT", 10)
    demand = Demand(tmp_path / "n.json")
    ask(demand, 1, *([2] * 8))
    demand.save()
    ask(demand, *([3] * 20))
    demand.save()

    counts = {
        note["layout"]: note["count"] for note in json.loads((tmp_path / "n.json").read_text())
    }
    assert counts == {"3": 10, "2": 4}


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '[{"layout": "1", "count": "x"}]', "[" * 2_000_000]
)
def test_starts_anew_where_the_note_does_not_read(tmp_path: Path, text: str) -> None:
    """A note is a help and no more: a broken one is replaced."""
    file = tmp_path / "n.json"
    file.write_text(text)
    demand = Demand(file)

    assert demand.layouts() == []
    ask(demand, 5)
    demand.save()
    assert sizes(demand) == [5]


def test_goes_on_where_nothing_can_be_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that cannot be written to is told of, and no error."""
    (tmp_path / "file").write_text("in the way")
    demand = Demand(tmp_path / "file" / "n.json")
    ask(demand, 1)
    demand.save()
    nowhere = Demand(None)
    ask(nowhere, 1)
    nowhere.save()

    assert "cannot be noted" in caplog.text
    assert nowhere.layouts() == []
