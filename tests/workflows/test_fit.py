"""Fit: whether a node gives what its call takes."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node


@pytest.mark.parametrize(
    ("node", "faults"),
    [
        (
            "{model: llama, inputs: {promt: x, prompt: y}}",
            ["3:30: Model 'llama' takes no input 'promt'. Did you mean 'prompt'?"],
        ),
        ("{model: minilm}", ["3:6: The input 'text' is missing: model 'minilm' needs it."]),
        (
            "{model: minilm, inputs: {}}",
            ["3:30: The input 'text' is missing: model 'minilm' needs it."],
        ),
        (
            "{model: llama, inputs: {}}",
            ["3:29: An input is missing: model 'llama' needs 'messages' or 'prompt'."],
        ),
        (
            "{model: llama, inputs: {prompt: x, messages: []}}",
            ["3:30: Model 'llama' takes 'messages' or 'prompt', not both."],
        ),
        ("{model: minilm, inputs: {text: 3}}", ["3:37: 'text' must be a string, not 3."]),
        (
            "{model: handbook, inputs: {vector: [1, x], top_k: 0}}",
            [
                "3:45: Item 1 must be a number, not a string.",
                "3:56: 'top_k' must be 1 or more, not 0.",
            ],
        ),
        (
            "{model: llama, inputs: {prompt: x}, params: {temprature: 1, max_tokens: 0}}",
            [
                "3:51: Model 'llama' takes no param 'temprature'. Did you mean 'temperature'?",
                "3:78: 'max_tokens' must be 1 or more, not 0.",
            ],
        ),
    ],
)
def test_compares_with_the_signature(node: str, faults: list[str]) -> None:
    """Names and constant values are compared with what the call takes."""
    assert sorted(find_faults(with_node(node))) == sorted(faults)


_HINT = " `{{ … | string }}` makes text of it."


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        (
            "{model: handbook, inputs: {vector: '{{ inputs.s }}'}}",
            "'vector' must be of type array, and this gives string.",
        ),
        (
            "{model: handbook, inputs: {vector: [], top_k: 'n {{ inputs.s }}'}}",
            "'top_k' must be of type integer, and this gives string.",
        ),
        (
            "{model: minilm, inputs: {text: ['{{ inputs.s }}']}}",
            "'text' must be of type string, and this gives array." + _HINT,
        ),
        (
            "{model: llama, inputs: {prompt: {a: '{{ inputs.s }}'}}}",
            "'prompt' must be of type string, and this gives object." + _HINT,
        ),
        (
            "{model: llama, inputs: {prompt: '{{ inputs.n }}'}}",
            "'prompt' must be of type string, and this gives integer." + _HINT,
        ),
    ],
)
def test_compares_types_of_expressions(node: str, fault: str) -> None:
    """What is certain of an expression's type is compared as well."""
    text = with_node(node, inputs="{s: {type: string}, n: {type: integer}}")
    assert [found.partition(": ")[2] for found in find_faults(text)] == [fault]


@pytest.mark.parametrize(
    "node",
    [
        "{model: llama, inputs: {prompt: '{{ inputs.x }}'}}",
        "{model: llama, inputs: {prompt: '{{ inputs.n | string }}'}}",
        "{model: llama, inputs: {messages: [{role: user, content: '{{ inputs.n }}'}]}}",
        "{model: llama, inputs: {prompt: x}, params: {temperature: '{{ inputs.n }}'}}",
        "{model: module, inputs: {whatever: [1]}, params: {any: 1}}",
    ],
)
def test_lets_pass_what_may_fit(node: str) -> None:
    """What is open, or may fit, is left to the run; open signatures take any name."""
    build(with_node(node, inputs="{x: {}, n: {type: integer}}"))
