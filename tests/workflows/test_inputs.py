"""Inputs: a run's inputs against what its graph declares."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import pytest
from workflow_fakes.catalog import LLM, build
from workflow_fakes.files import RAG

from torchloom.errors import InvalidInput
from torchloom.signature import Signature
from torchloom_workflows.inputs import InputValidator


@pytest.fixture
def rag() -> InputValidator:
    """Give the validator of the RAG file."""
    return InputValidator(build(RAG).signature)


def _faults(
    validator: InputValidator, inputs: Mapping[str, object]
) -> list[tuple[str | None, str]]:
    with pytest.raises(InvalidInput) as caught:
        validator.validate(inputs)
    return [(fault.pointer, fault.message) for fault in caught.value.faults]


def test_fills_defaults_in(rag: InputValidator) -> None:
    """What is not given has its default; what is given stays."""
    assert rag.validate({"question": "Why?"}) == {"question": "Why?", "top_k": 4}
    assert rag.validate({"question": "Why?", "top_k": 9})["top_k"] == 9


def test_leaves_the_callers_inputs_alone(rag: InputValidator) -> None:
    """Filling in makes a new mapping."""
    inputs: dict[str, object] = {"question": "Why?"}
    rag.validate(inputs)
    assert inputs == {"question": "Why?"}


def test_finds_every_fault_at_once(rag: InputValidator) -> None:
    """Unknown, missing and unfit inputs are told together, each by its pointer."""
    assert _faults(rag, {"qestion": "x", "top_k": 99}) == [
        ("/top_k", "'top_k' must be 20 or less, not 99."),
        ("/qestion", "Unknown input 'qestion'. Did you mean 'question'?"),
        ("/question", "The input 'question' is missing."),
    ]


def test_counts_the_faults_in_its_message(rag: InputValidator) -> None:
    """The message shows the first fault, and how many there are."""
    with pytest.raises(InvalidInput, match=r"^The inputs are not valid: .* \(and 1 more\)$"):
        rag.validate({"question": 3, "top_k": "x"})


def test_points_into_values() -> None:
    """A fault deep in a value is told with the way to it."""
    validator = InputValidator(
        Signature(
            inputs={"xs": {"type": "array", "items": {"properties": {"a/b": {"type": "string"}}}}}
        )
    )
    assert _faults(validator, {"xs": [{}, {"a/b": 3}]}) == [
        ("/xs/1/a~1b", "'a/b' must be a string, not 3.")
    ]


def test_does_not_repeat_long_values(rag: InputValidator) -> None:
    """A fault says what is wrong without sending the value back."""
    ((_, message),) = _faults(rag, {"question": "secret" * 1000})
    assert message == "'question' may have at most 2000 characters, not 6000."


def test_judges_foreign_values_by_their_type(rag: InputValidator) -> None:
    """Bytes pass for a string, and arrays for a list."""
    assert rag.validate({"question": b"bytes"})["question"] == b"bytes"
    assert _faults(rag, {"question": "x", "top_k": b"3"}) == [
        ("/top_k", "'top_k' cannot be a bytes.")
    ]
    assert _faults(rag, {"question": array("d")}) == [
        ("/question", "'question' cannot be a array.")
    ]
    assert _faults(rag, {"question": "x", "z": b""})[0][0] == "/z"


def test_refuses_what_json_cannot_carry(rag: InputValidator) -> None:
    """Keys that are no strings, and depth without end, are refused as faults of the input."""
    assert "cannot carry" in _faults(rag, {"question": "x", "top_k": {1: 2}})[0][1]
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "cannot carry" in _faults(rag, {"question": deep})[0][1]


def test_asks_for_one_of_several() -> None:
    """Of names that exclude each other, exactly one is given."""
    validator = InputValidator(LLM)
    assert validator.validate({"prompt": "x"}) == {"prompt": "x"}
    wrong: list[dict[str, object]] = [{}, {"prompt": "x", "messages": []}]
    for inputs in wrong:
        assert _faults(validator, inputs) == [
            (None, "Give exactly one of the inputs 'messages' or 'prompt'.")
        ]


def test_takes_any_name_where_the_signature_is_open() -> None:
    """Open signatures take what they are given."""
    assert InputValidator(Signature(is_open=True)).validate({"x": 1, "y": b""}) == {
        "x": 1,
        "y": b"",
    }
