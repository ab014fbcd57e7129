"""Trust: guesses as long as they come true, and pauses where they do not."""

from __future__ import annotations

from torchloom_models.llm.draft.trust import Trust


def _limits(trust: Trust, most: int, *num_right: int) -> list[int]:
    """Give how long each guess was let be."""
    lengths = []
    for number in num_right:
        lengths.append(trust.limit(most))
        trust.learn(min(number, lengths[-1]))
    return lengths


def test_lets_right_guesses_grow() -> None:
    """Up to the most there may be, within a few guesses."""
    assert _limits(Trust(), 8, 99, 99, 99, 99) == [3, 6, 8, 8]


def test_shortens_wrong_guesses_and_pauses() -> None:
    """After three wrong guesses none for eight tokens, after one more none for sixteen."""
    trust = Trust()

    assert _limits(trust, 8, 0, 0, 0) == [3, 2, 2]
    pauses = []
    for _ in range(6):
        pause = 0
        while not (limit := trust.limit(8)):
            pause += 1
        pauses.append(pause)
        assert limit == 2
        trust.learn(0)

    assert pauses == [8, 16, 32, 64, 128, 128]


def test_goes_on_with_guesses_that_are_right_now_and_then() -> None:
    """One right token of each guess, or half of the guesses of one token, is worth going on."""
    assert 0 not in _limits(Trust(), 8, *[1] * 50)
    assert 0 not in _limits(Trust(), 1, *[1, 0] * 50)


def test_is_handed_on() -> None:
    """Another text begins as this one ended, and each then goes its own way."""
    trust = Trust()
    _limits(trust, 8, 0, 0, 0)
    for _ in range(5):
        trust.limit(8)

    heir = trust.heir()

    assert [heir.limit(8) for _ in range(4)] == [0, 0, 0, 2]
    heir.learn(2)
    assert trust.limit(8) == 0


def test_begins_with_a_short_pause_once_guesses_were_right_again() -> None:
    """What was long ago counts no more."""
    trust = Trust()
    _limits(trust, 8, 0, 0, 0)
    assert [trust.limit(8) for _ in range(9)] == [0] * 8 + [2]
    trust.learn(0)
    assert [trust.limit(8) for _ in range(17)] == [0] * 16 + [2]
    trust.learn(2)
    assert 0 not in _limits(trust, 8, 9, 9)

    while trust.limit(8):
        trust.learn(0)

    assert [trust.limit(8) for _ in range(8)] == [0] * 7 + [2]
