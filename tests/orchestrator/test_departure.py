"""Where values leave their schema, in our words."""

from __future__ import annotations

import pytest

from torchloom.departure import Departure, SchemaCheck


CHECK = SchemaCheck(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$", "$comment": "Small letters only."},
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "when": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    key="setting",
)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({}, (), "The setting 'name' is missing."),
        ({"name": "A"}, ("name",), "Small letters only."),
        ({"name": 3}, ("name",), "'name' must be a string, not 3."),
        ({"name": "a", "sise": 1}, ("sise",), "Unknown setting 'sise'. Did you mean 'size'?"),
        ({"name": "a", "size": 0}, ("size",), "'size' must be 1 or more, not 0."),
        ({"name": "a", "size": 10}, ("size",), "'size' must be 9 or less, not 10."),
        (
            {"name": "a", "mode": "fats"},
            ("mode",),
            "'fats' is not one of 'fast', 'slow'. Did you mean 'fast'?",
        ),
        (
            {"name": "a", "tags": ["x", True]},
            ("tags", 1),
            "Item 1 must be a string, not a boolean.",
        ),
        ({"name": "a", "tags": ["x"] * 3}, ("tags",), "'tags' may have at most 2 items, not 3."),
        ({"name": "a", "when": 3}, ("when",), "'when' must be a string or a list, not 3."),
        ({"name": "a", "when": []}, ("when",), "'when' must have at least 1 item, not 0."),
    ],
)
def test_words_what_is_wrong(value: object, path: tuple[str | int, ...], message: str) -> None:
    """Each departure says where it is and what is wrong, and repeats no schema."""
    (found,) = CHECK.find(value)

    assert (found.path, found.message) == (path, message)


def test_finds_everything_at_once() -> None:
    """One look tells all that is to be mended."""
    assert len(CHECK.find({"size": 0, "mode": "x", "other": 1})) == 4


def test_finds_nothing_in_what_fits() -> None:
    """A value that fits has no departures."""
    assert CHECK.is_valid({"name": "a", "size": 3})
    assert CHECK.find({"name": "a", "size": 3}) == []


def test_never_repeats_a_long_value() -> None:
    """What is shown of a value is cut short."""
    (found,) = CHECK.find({"name": "a", "mode": "x" * 10_000})

    assert len(found.message) < 200


def test_marks_what_is_at_a_key_and_what_is_lacking() -> None:
    """An unknown key is at its key; a missing one leaves what is there sound."""
    unknown, missing = sorted(CHECK.find({"other": 1}), key=lambda each: not each.at_key)

    assert unknown.at_key
    assert missing == Departure((), "The setting 'name' is missing.", is_lack=True)
