"""SlotTable: low slots first, and an invariant."""

from __future__ import annotations

import pytest

from torchloom_models.llm.slot import SlotTable


def test_gives_the_lowest_free_slot() -> None:
    """A slot that was given back is the next to go, if it is the lowest."""
    table = SlotTable(3)
    assert [table.allocate(), table.allocate(), table.allocate()] == [0, 1, 2]

    table.release(1)
    table.release(0)

    assert table.allocate() == 0
    assert table.num_free == 1
    assert table.num_rows == 3
    table.check()


def test_notices_a_lost_slot() -> None:
    """A slot that is neither free nor used fails the check."""
    table = SlotTable(2)
    table._used.add(table.allocate())
    table._used.clear()

    with pytest.raises(AssertionError):
        table.check()
