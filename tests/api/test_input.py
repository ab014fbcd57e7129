"""A client's values against a signature."""

from __future__ import annotations

import base64

import pytest

from torchloom.errors import InvalidInput
from torchloom.signature import Signature
from torchloom_api.input import InputCheck, InputChecks


SIGNATURE = Signature(
    inputs={
        "question": {"type": "string", "minLength": 1, "maxLength": 5},
        "top_k": {"type": "integer", "minimum": 1},
        "deep": {
            "type": "array",
            "items": {"type": "object", "properties": {"n": {"type": "number"}}},
        },
        "image": {"type": "string", "contentEncoding": "base64"},
    },
    params={"temperature": {"type": "number", "minimum": 0}},
    required=frozenset({"question"}),
)


def faults_of(
    values: object, signature: Signature = SIGNATURE, **how: bool
) -> dict[str | None, str]:
    """Give the faults of some values: pointer to message."""
    with pytest.raises(InvalidInput) as caught:
        InputCheck(signature).check(values, **how)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def test_gives_valid_values_back() -> None:
    """Values that fit are what engines are given."""
    values = {"question": "why", "top_k": 2, "deep": [{"n": 0.5}]}

    assert InputCheck(SIGNATURE).check(values) == values


def test_tells_every_fault_at_once() -> None:
    """Each fault has the pointer of its value, and the nearest name where one is unknown."""
    faults = faults_of({"questoin": "x", "top_k": 0, "deep": [{"n": 1}, {"n": "x"}]})

    assert faults == {
        "/question": "The input 'question' is missing.",
        "/questoin": "There is no input 'questoin'. Did you mean 'question'?",
        "/top_k": "input 'top_k': the value is less than the minimum of 1",
        "/deep/1/n": "input 'deep': the value is not of type \"number\"",
    }


def test_never_repeats_the_value() -> None:
    """A message holds nothing of a payload, however large."""
    assert "secret" not in str(faults_of({"question": "secret" * 1000}))


@pytest.mark.parametrize("values", [None, 3, "text", [1], True])
def test_refuses_what_is_no_object(values: object) -> None:
    """Inputs come by name."""
    with pytest.raises(InvalidInput, match="must be an object"):
        InputCheck(SIGNATURE).check(values)


def test_asks_for_exactly_one_of_a_group() -> None:
    """Of names that exclude each other, none and two are both refused."""
    signature = Signature(inputs={"text": {}, "texts": {}}, one_of=(frozenset({"text", "texts"}),))

    assert "exactly one of 'text', 'texts'; 0" in faults_of({}, signature)[None]
    assert "2 are given" in faults_of({"text": 1, "texts": 2}, signature)[None]
    assert InputCheck(signature).check({"text": "x"}) == {"text": "x"}


def test_lets_unknown_names_through_where_the_signature_is_open() -> None:
    """Functions and modules may take names that nobody listed."""
    assert InputCheck(Signature(is_open=True)).check({"any": 1}) == {"any": 1}


def test_checks_params_too() -> None:
    """Params have schemas and names of their own."""
    check = InputCheck(SIGNATURE)

    assert check.check_params({"temperature": 0.5}) == {"temperature": 0.5}
    with pytest.raises(InvalidInput, match=r"parameter 'temprature'.* Did you mean 'temperature'"):
        check.check_params({"temprature": 1})


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_decodes_base64_and_data_urls(prefix: str) -> None:
    """An input that is declared as base64 reaches the engine as bytes."""
    text = prefix + base64.b64encode(b"picture").decode()

    assert InputCheck(SIGNATURE).check({"question": "?", "image": text})["image"] == b"picture"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not base64!", "no base64"),
        ("https://example.org/x.png", "remote URLs are not fetched"),
        (12, "send base64 text"),
    ],
)
def test_says_how_to_send_media(value: object, message: str) -> None:
    """Media that cannot be read is a fault; a remote URL is never fetched."""
    assert message in faults_of({"question": "?", "image": value})["/image"]


def test_reads_a_forms_text_by_schema() -> None:
    """A form's text becomes a number, list or object where the schema asks for one."""
    form = {"question": "12", "top_k": "3", "deep": '[{"n": 1}]', "image": b"raw"}

    assert InputCheck(SIGNATURE).check(form, is_form=True) == {
        "question": "12",
        "top_k": 3,
        "deep": [{"n": 1}],
        "image": b"raw",
    }


def test_takes_a_forms_file_for_text() -> None:
    """A file may hold the text, or the JSON, of an input."""
    form = {"question": b"why", "top_k": b"3"}

    assert InputCheck(SIGNATURE).check(form, is_form=True) == {"question": "why", "top_k": 3}


def test_refuses_a_forms_text_that_does_not_fit() -> None:
    """Text that is no number is refused as in JSON."""
    assert "/top_k" in faults_of({"question": "x", "top_k": "many"}, is_form=True)


@pytest.mark.parametrize("value", [2**200, -(2**200), float("inf"), {1: 2}, [[[]]] * 3, b"bytes"])
def test_survives_values_that_json_does_not_have(value: object) -> None:
    """Whatever a parser lets through, the answer is a fault."""
    assert faults_of({"question": value})


def test_never_reads_a_schema_from_elsewhere() -> None:
    """A schema that refers to another place is refused when it is compiled."""
    with pytest.raises(ValueError, match="nothing outside the file is read"):
        InputCheck(Signature(inputs={"a": {"$ref": "http://127.0.0.1:9/schema"}}))


def test_compiles_a_signature_once() -> None:
    """The same label and signature share a check; a changed signature gets a new one."""
    checks = InputChecks()
    first = checks.of("workflow rag@1", SIGNATURE)

    assert checks.of("workflow rag@1", SIGNATURE) is first
    assert checks.of("workflow rag@1", Signature()) is not first


def test_leaves_a_form_as_it_came_where_the_model_reads_it() -> None:
    """Fields are bytes, whatever they look like; a name that comes twice gives a list."""
    check = InputCheck(Signature(is_open=True, is_raw=True))
    form = {"body": b"\xff\xfe", "data": "3", "many": ["a", b"b"]}

    assert check.check(form, is_form=True) == {
        "body": b"\xff\xfe",
        "data": b"3",
        "many": [b"a", b"b"],
    }
    assert check.check({"body": [1]}) == {"body": [1]}
