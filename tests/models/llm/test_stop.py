"""StopMatcher: stop strings over the borders of pieces."""

from __future__ import annotations

import pytest

from torchloom_models.llm.stop import StopMatcher


def _run(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    matcher = StopMatcher(stops)
    sent = []
    for piece in pieces:
        text, is_stopped = matcher.push(piece)
        sent.append(text)
        if is_stopped:
            return sent, True
    return [*sent, matcher.flush()], False


@pytest.mark.parametrize(
    ("stops", "pieces", "sent", "is_stopped"),
    [
        ([], ["ab", "c"], ["ab", "c", ""], False),
        (["END"], ["one E", "N", "D two"], ["one ", "", ""], True),
        (["END"], ["one E", "N", "ough"], ["one ", "", "ENough", ""], False),
        (["END"], ["one EN"], ["one ", "EN"], False),
        (["aab"], ["aa", "a", "b"], ["", "a", ""], True),
        (["\n\n", "##"], ["x\n", "y#", "# z"], ["x", "\ny", ""], True),
        (["b", "ab"], ["xab"], ["x"], True),
    ],
)
def test_never_sends_part_of_a_stop_string(
    stops: list[str], pieces: list[str], sent: list[str], *, is_stopped: bool
) -> None:
    """Text that may begin a stop string is held back until it is clear that it does not."""
    assert _run(stops, pieces) == (sent, is_stopped)
