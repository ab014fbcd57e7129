"""SamplingParams: names, ranges, and what stays as it is."""

from __future__ import annotations

import pytest

from torchloom.errors import InvalidInput
from torchloom_models.llm.sampling_params import SamplingParams


def test_reads_json_forms() -> None:
    """A stop may be one string; logit_bias has token ids as its keys; null changes nothing."""
    params = SamplingParams().updated(
        {"stop": "END", "logit_bias": {"7": 2}, "temperature": 0.5, "top_k": None}
    )

    assert params.stop == ("END",)
    assert params.logit_bias == {7: 2.0}
    assert params.temperature == 0.5
    assert params.top_k == 0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temprature": 1}, "Did you mean 'temperature'?"),
        ({"temperature": -1}, "'temperature' must be 0 or more"),
        ({"top_p": 0}, "'top_p' must be more than 0"),
        ({"top_p": 1.5}, "'top_p' must be 1 or less"),
        ({"max_tokens": -1}, "'max_tokens' must be 0 or more"),
        ({"logprobs": 21}, "'logprobs' must be 20 or less"),
        ({"max_tokens": "many"}, "'max_tokens' must be a whole number"),
        ({"stop": [""]}, "at least 1 character"),
        ({"logit_bias": {"seven": 1}}, "'seven'"),
        ({"temperature": float("nan")}, "'temperature' must be a number"),
        ({"seed": object()}, "JSON"),
    ],
)
def test_refuses_by_name(values: dict[str, object], says: str) -> None:
    """A parameter that is unknown or out of its range is refused, and told apart."""
    with pytest.raises(InvalidInput) as caught:
        SamplingParams().updated(values)

    assert says in caught.value.message
