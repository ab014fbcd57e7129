"""StandIn: what takes the place of a node that failed."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node

from torchloom.graph import Fallback, ModelCall


def _node(fallback: str) -> str:
    return with_node(f"{{model: llama, inputs: {{prompt: x}}, fallback: {fallback}}}")


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ("{value: {text: sorry}}", Fallback(value={"text": "sorry"})),
        ("{model: llama@1}", Fallback(model=ModelCall("llama", 1))),
        ("{model: module}", Fallback(model=ModelCall("module"))),
    ],
)
def test_takes_a_value_or_a_model(fallback: str, expected: Fallback) -> None:
    """A fallback is a value, or a model with the same face."""
    assert build(_node(fallback)).nodes["a"].fallback == expected


@pytest.mark.parametrize(
    ("fallback", "faults"),
    [
        ("{}", ["3:52: A fallback is either a `value` or a `model`."]),
        ("{value: {}, model: llama}", ["3:52: A fallback is either a `value` or a `model`."]),
        ("{model: lama}", ["3:60: There is no model 'lama'. Did you mean 'llama'?"]),
        (
            "{model: minilm}",
            [
                "3:60: Model 'minilm' cannot stand in: it takes no input 'prompt'.",
                "3:60: Model 'minilm' cannot stand in: it needs the input 'text'.",
                "3:60: Model 'minilm' cannot stand in: it gives no 'text'.",
                "3:60: Model 'minilm' cannot stand in: it gives no 'usage'.",
            ],
        ),
        ("{value: {txt: x}}", ["3:61: Model 'llama' gives no 'txt'. Did you mean 'text'?"]),
        ("{value: {text: 3}}", ["3:67: 'text' must be a string, not 3."]),
        (
            "{value: {text: 'x {{ 1 }}'}}",
            ["3:60: A fallback's value cannot have expressions in it: write it out."],
        ),
    ],
)
def test_finds_what_cannot_stand_in(fallback: str, faults: list[str]) -> None:
    """What stands in must take and give what the node does, and depend on nothing."""
    assert find_faults(_node(fallback)) == faults
