"""Scalar: plain words by YAML 1.2."""

from __future__ import annotations

import pytest

from torchloom_workflows.scalar import MAX_DIGITS, BadScalar, read_number, read_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
    ],
)
def test_reads_the_core_schema(text: str, value: object) -> None:
    """Null, booleans and numbers have the forms of YAML 1.2's core schema."""
    read = read_plain(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "No",
        "y",
        "1_000",
        "12:30",
        "2001-01-01",
        "0b1",
        "1.2.3",
        "-",
        "+",
        ".",
        "=",
    ],
)
def test_leaves_the_words_of_yaml_1_1_alone(text: str) -> None:
    """What only YAML 1.1 reads as something else is a string."""
    assert read_plain(text) == text


@pytest.mark.parametrize(
    "text", [".inf", "-.INF", ".nan", "1e999", "-1e999", "9" * (MAX_DIGITS + 1)]
)
def test_refuses_numbers_that_json_cannot_carry(text: str) -> None:
    """Numbers that are not finite, or endless, are refused with a way out: quotes."""
    with pytest.raises(BadScalar, match="Quote it"):
        read_number(text)
