"""VersionTable: names, versions, and the split between them."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidInput, UnknownModel
from torchloom.traffic import Pair, Shadow
from torchloom.version_table import VersionTable


@pytest.fixture
def table() -> VersionTable[str]:
    """Two versions of llama and one of minilm; what ends in `!` does not serve."""
    table = VersionTable[str]("Model", UnknownModel, serves=lambda thing: not thing.endswith("!"))
    table.put("minilm", 1, "minilm@1")
    table.put("llama", 2, "llama@2")
    table.put("llama", 10, "llama@10")
    return table


def test_lists_by_name_and_by_number(table: VersionTable[str]) -> None:
    """Order is by name, then by version as a number."""
    assert list(table) == ["llama@2", "llama@10", "minilm@1"]
    assert table.names() == ["llama", "minilm"]
    assert table.versions("llama") == [2, 10]


def test_gives_the_highest_version_where_none_is_named(table: VersionTable[str]) -> None:
    """Look-up and traffic go to the highest version by default."""
    assert table.get("llama") == table.pick("llama") == "llama@10"
    assert table.get("llama", 2) == table.pick("llama", 2) == "llama@2"
    assert table.find("llama", 3) is None
    assert (table.weight("llama", 10), table.weight("llama", 2)) == (1.0, 0.0)


def test_says_what_is_unknown_and_what_is_there(table: VersionTable[str]) -> None:
    """Unknown names come with the nearest one, unknown versions with those that exist."""
    with pytest.raises(UnknownModel, match=r"There is no model 'lama'\. Did you mean 'llama'\?"):
        table.get("lama")
    with pytest.raises(UnknownModel, match=r"no version 3\. It has: 2, 10\."):
        table.pick("llama", 3)
    with pytest.raises(UnknownModel):
        table.remove("llama", 3)


def test_splits_by_weight(table: VersionTable[str]) -> None:
    """A split shares requests out; a named version is not affected by it."""
    table.set_split("llama", {2: 1.0, 10: 3.0})
    picks = [table.pick("llama") for _ in range(8)]
    assert (picks.count("llama@2"), picks.count("llama@10")) == (2, 6)
    assert table.weight("llama", 2) == 0.25
    assert table.pick("llama", 2) == "llama@2"


def test_refuses_a_split_that_makes_no_sense(table: VersionTable[str]) -> None:
    """Versions must exist and weights must split."""
    with pytest.raises(UnknownModel):
        table.set_split("llama", {3: 1.0})
    with pytest.raises(InvalidInput, match="Model 'llama': A split needs weights"):
        table.set_split("llama", {2: 0.0})


def test_takes_a_removed_version_out_of_the_split(table: VersionTable[str]) -> None:
    """What is left shares all; a split of which nothing is left is gone, as is an empty name."""
    table.put("llama", 11, "llama@11")
    table.set_split("llama", {2: 1.0, 10: 1.0})
    table.remove("llama", 10)
    assert {table.pick("llama") for _ in range(4)} == {"llama@2"}
    table.remove("llama", 2)
    assert table.pick("llama") == "llama@11"
    table.remove("llama", 11)
    assert table.names() == ["minilm"]


def test_names_who_gets_a_copy(table: VersionTable[str]) -> None:
    """The shadow of a name, for what others answer; also where their version was named."""
    assert table.pick_pair("llama", 2) is None
    table.set_split("llama", {2: 1.0}, Shadow(version=10, percent=50.0))

    pairs = [table.pick_pair("llama", 2) for _ in range(4)]
    assert pairs == [None, Pair(name="llama", served=2, shadow=10)] * 2
    assert table.pick_pair("llama", 10) is None
    assert (table.copies("llama", 10), table.copies("llama", 2)) == (50.0, 0.0)


def test_has_no_shadow_any_more_that_is_removed_or_not_named(table: VersionTable[str]) -> None:
    """It goes with its version, and with a split that names none."""
    shadow = Shadow(version=10, percent=50.0)
    table.set_split("llama", {2: 1.0}, shadow)
    assert table.shadow("llama") == shadow
    assert table.shadow("llama", beside={2: 1.0, 10: 0.0}) == shadow
    assert table.shadow("llama", beside={10: 1.0}) is None
    table.set_split("llama", {2: 1.0})
    assert table.shadow("llama") is None
    table.set_split("llama", {2: 1.0}, shadow)
    table.remove("llama", 10)
    assert table.shadow("llama") is None
    assert table.pick("llama") == "llama@2"


def test_refuses_a_shadow_that_makes_no_sense(table: VersionTable[str]) -> None:
    """It must be there, and answer nothing itself; what was set before stays."""
    table.set_split("llama", {2: 1.0})
    with pytest.raises(UnknownModel, match="no version 3"):
        table.set_split("llama", {10: 1.0}, Shadow(version=3, percent=1.0))
    with pytest.raises(InvalidInput, match="Model 'llama': Version 10 cannot be the shadow"):
        table.set_split("llama", {10: 1.0}, Shadow(version=10, percent=1.0))
    assert table.pick("llama") == "llama@2"


def test_passes_over_a_version_that_does_not_serve(table: VersionTable[str]) -> None:
    """While a new version is loading, the old one goes on serving, split or no split."""
    table.put("llama", 11, "llama@11!")
    assert table.pick("llama") == "llama@10"
    assert (table.weight("llama", 11), table.weight("llama", 10)) == (0.0, 1.0)
    table.set_split("llama", {11: 1.0})
    assert table.pick("llama") == "llama@10"
    assert table.pick("llama", 11) == table.get("llama") == "llama@11!"


def test_chooses_as_ever_if_nothing_serves(table: VersionTable[str]) -> None:
    """While all versions load, requests wait at the highest."""
    table.put("new", 1, "new@1!")
    table.put("new", 2, "new@2!")
    assert table.pick("new") == "new@2!"
