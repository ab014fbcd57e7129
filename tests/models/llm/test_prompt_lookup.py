"""PromptLookup: what followed where the latest tokens stood before."""

from __future__ import annotations

from torchloom_models.llm.prompt_lookup import PromptLookup


def test_guesses_what_followed_the_latest_tokens() -> None:
    """The latest place counts, and no more tokens than are asked for."""
    lookup = PromptLookup()

    assert lookup.guess([1, 2, 3, 8, 9, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3], 3) == [4, 5, 6]
    assert lookup.guess([1, 2, 3, 8, 9, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3], 1) == [4]


def test_guesses_nothing_that_was_never_there() -> None:
    """Fewer than three tokens, and those at the end alone, tell nothing."""
    assert PromptLookup().guess([1, 2], 4) == []
    assert PromptLookup().guess([1, 2, 3], 4) == []
    assert PromptLookup().guess([1, 2, 3, 4, 5], 4) == []


def test_grows_with_the_sequence() -> None:
    """What an answer has written is looked up as well."""
    lookup = PromptLookup()
    ids = [1, 2, 3]
    for token in (4, 1, 2, 3):
        assert lookup.guess(ids, 2) == []
        ids.append(token)

    assert lookup.guess(ids, 2) == [4, 1]


def test_goes_on_within_a_repetition() -> None:
    """A run of the same token guesses itself, as far as it goes."""
    assert PromptLookup().guess([5, 5, 5, 5, 5], 4) == [5]


def test_guesses_as_far_as_it_was_right() -> None:
    """Twice as many tokens as were right the last time: one of many costs little."""
    ids = [1, 2, 3, *range(10, 30), 1, 2, 3]
    lookup = PromptLookup()

    lengths = []
    for num_right in (1, 2, 4, 8, 0):
        lengths.append(len(lookup.guess(ids, 16)))
        lookup.learn(num_right)

    assert lengths == [16, 2, 4, 8, 16]


def test_pauses_after_wrong_guesses() -> None:
    """Longer each time, up to a bound; a right one ends it."""
    lookup = PromptLookup()
    ids = [1, 2, 3, 4, 1, 2, 3]
    pauses = []
    for _ in range(7):
        assert lookup.guess(ids, 1) == [4]
        lookup.learn(0)
        pause = 0
        while lookup._pause:
            assert lookup.guess(ids, 1) == []
            pause += 1
        pauses.append(pause)

    assert pauses == [1, 2, 4, 8, 16, 32, 32]
    lookup.learn(1)
    assert lookup.guess(ids, 1) == [4]
    lookup.learn(0)
    assert lookup._pause == 1
