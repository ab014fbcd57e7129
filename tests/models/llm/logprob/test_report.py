"""What one sequence tells of how likely its tokens were."""

from __future__ import annotations

from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.logprob.report import LogprobReport
from torchloom_models.llm.token_text import TokenText


def _letters(tokens: list[int]) -> str:
    return "".join(chr(token) for token in tokens)


def _report(
    num_top: int | None = 1, num_prompt_top: int | None = None
) -> tuple[LogprobReport, Detokenizer]:
    detokenizer = Detokenizer(_letters)
    report = LogprobReport(
        num_top=num_top,
        num_prompt_top=num_prompt_top,
        prompt=[65, 66],
        texts=lambda token: TokenText(chr(token), chr(token).encode()),
        detokenizer=detokenizer,
    )
    return report, detokenizer


def test_tells_a_token_once_and_with_its_text() -> None:
    """What has no text yet waits for the text that comes; the end brings what is left."""
    report, _ = _report()
    report.note(97, -0.5, [(98, -0.1)])
    first = report.take(has_text=False, is_over=False)
    report.note(98, -0.25, [(98, -0.25)])
    second = report.take(has_text=True, is_over=False)
    third = report.take(has_text=True, is_over=False)
    report.note(99, -1.0, [])
    last = report.take(has_text=False, is_over=True)

    assert first == third == {}
    assert [entry["id"] for entry in second["logprobs"]] == [97, 98]
    assert second["logprobs"][0] == {
        "id": 97,
        "token": "a",
        "bytes": [97],
        "logprob": -0.5,
        "top_logprobs": [{"id": 98, "token": "b", "bytes": [98], "logprob": -0.1}],
        "offset": 0,
    }
    assert [entry["id"] for entry in last["logprobs"]] == [99]
    assert [entry["id"] for entry in report.outputs["logprobs"]] == [97, 98, 99]


def test_says_where_a_token_begins() -> None:
    """In characters of the text, as far as it was certain then."""
    report, detokenizer = _report()
    for token in (97, 8364, 98):
        report.note(token, -1.0, [])
        detokenizer.push(token)

    assert [entry["offset"] for entry in report.outputs["logprobs"]] == [0, 1, 2]


def test_tells_the_prompt_once_and_first() -> None:
    """The prompt goes with the first chunk, text or none; nothing is known of its first token."""
    report, _ = _report(num_top=None, num_prompt_top=0)
    assert report.lacks_prompt
    report.note_prompt(66, -2.0, [])
    first = report.take(has_text=False, is_over=False)

    assert not report.lacks_prompt
    assert [entry["logprob"] for entry in first["prompt_logprobs"]] == [None, -2.0]
    assert report.take(has_text=True, is_over=True) == {}
    assert report.outputs == {"prompt_logprobs": first["prompt_logprobs"]}


def test_writes_no_infinity() -> None:
    """What the model holds for impossible is a number that JSON has."""
    report, _ = _report()
    report.note(97, float("-inf"), [(98, float("-inf"))])
    (entry,) = report.outputs["logprobs"]

    assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] == -9999.0
