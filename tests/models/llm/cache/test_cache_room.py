"""How large a cache gets, and what is said where there is no room."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.llm.cache.cache_room import CacheRoom, free_bytes


def _room(
    *,
    model: int | None = 4096,
    wished: int | None = None,
    kv_cache: Mapping[str, object] | None = None,
    free: int = 1_000_000,
) -> CacheRoom:
    return CacheRoom(
        layers=[],
        bytes_per_token=10,
        model_length=model,
        max_sequences=4,
        max_length=wished,
        kv_cache=kv_cache,
        free_bytes=free,
        device="cpu",
    )


def test_holds_the_longest_of_all_sequences_where_memory_allows() -> None:
    """As much as can ever be needed, and no more."""
    pages = _room(wished=100).pages(32)
    slots = _room(wished=100).slots()

    assert (pages.num_slots, pages.max_length, pages.num_tokens) == (4, 100, 4 * 128)
    assert (slots.num_slots, slots.max_length, slots.num_tokens) == (4, 100, 400)
    assert (pages.note, slots.note) == ("", "")


def test_takes_the_length_of_the_model() -> None:
    """Where nothing else is said, and it fits: in pages for one sequence, in slots for each."""
    assert _room().pages(32).max_length == 4096
    assert _room().slots().max_length == 4096
    assert _room(free=100_000).pages(32).max_length == 4096
    assert _room(free=100_000).slots().max_length == 1216
    assert _room(model=None, free=100_000).pages(32).max_length == 4992


def test_keeps_to_half_of_the_free_memory() -> None:
    """A cache in pages has less room than all could need; the note says so."""
    pages = _room(wished=4000, free=100_000).pages(32)

    assert (pages.num_slots, pages.max_length, pages.num_tokens) == (4, 4000, 4992)
    assert "room for 4992 tokens" in pages.note
    assert "of the 16000 that" in pages.note
    assert "`kv_cache`" in pages.note


def test_gives_slots_to_as_many_as_fit() -> None:
    """Where each takes its whole length, fewer run at once; the note says how many."""
    slots = _room(wished=2000, free=100_000).slots()

    assert (slots.num_slots, slots.max_length, slots.num_tokens) == (2, 2000, 4000)
    assert slots.note.startswith("2 sequences at once, not 4")


@pytest.mark.parametrize("kv_cache", [{"tokens": 1000}, {"memory": "10KB"}, {"memory": 10_000}])
def test_sets_aside_what_the_model_file_says(kv_cache: Mapping[str, object]) -> None:
    """In tokens or in bytes; in pages also where it is more than all could need."""
    room = _room(wished=100, kv_cache=kv_cache)
    long = _room(wished=400, kv_cache=kv_cache)

    assert room.stated_tokens == 1000
    assert room.pages(32).num_tokens == 992
    assert (room.slots().num_slots, room.slots().num_tokens) == (4, 400)
    assert (long.pages(32).num_slots, long.pages(32).num_tokens) == (4, 992)
    assert (long.slots().num_slots, long.slots().num_tokens) == (2, 800)
    assert long.pages(32).note == ""


@pytest.mark.parametrize("size", ["pages", "slots"])
def test_refuses_a_cache_that_is_too_small_for_one(size: str) -> None:
    """Both figures are named."""
    room = _room(wished=500, kv_cache={"tokens": 499})
    with pytest.raises(ModelLoadError, match=r"kv_cache has room for 4\d\d tokens.*takes 500"):
        room.pages(32) if size == "pages" else room.slots()
    poor = _room(wished=500, free=9000)
    with pytest.raises(ModelLoadError, match=r"Half of the free memory of cpu .* 500"):
        poor.pages(32) if size == "pages" else poor.slots()


def test_refuses_what_the_memory_does_not_hold() -> None:
    """What is set aside must be there, whole."""
    with pytest.raises(ModelLoadError, match=r"200000 tokens of kv_cache take 1\.9 MiB.*1\.0 MiB"):
        _room(kv_cache={"tokens": 200_000}).pages(32)


def test_refuses_a_length_beyond_the_model() -> None:
    """A model cannot be stretched."""
    with pytest.raises(ModelLoadError, match="5000"):
        _room(wished=5000).pages(32)
    with pytest.raises(ModelLoadError, match="5000"):
        _room(wished=5000).slots()


def test_says_when_there_is_too_little_memory() -> None:
    """A context that would be uselessly short stops the start."""
    with pytest.raises(ModelLoadError, match="max_sequences"):
        _room(free=5000).slots()
    with pytest.raises(ModelLoadError, match="Raise kv_cache"):
        _room(kv_cache={"tokens": 200}).pages(32)


def test_looks_at_the_memory_of_the_machine() -> None:
    """Some of it is free while the tests run."""
    assert free_bytes("cpu") > 0
