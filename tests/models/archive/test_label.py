"""Labels of classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchloom_models.archive.label import load_label_mapping, map_class_to_label


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ('{"0": "tabby"}', {"0": "tabby"}),
        ('{"0": ["n02123045", "tabby"]}', {"0": "tabby"}),
        (
            '{"object_type_names": ["__background__", "person"]}',
            {"0": "__background__", "1": "person"},
        ),
    ],
)
def test_reads_every_form(text: str, mapping: object, tmp_path: Path) -> None:
    """The last name of a class counts; a list counts classes from 0."""
    file = tmp_path / "index_to_name.json"
    file.write_text(text)

    assert load_label_mapping(file) == mapping


def test_does_without_a_file(tmp_path: Path) -> None:
    """Labels are numbers then."""
    assert load_label_mapping(tmp_path / "absent.json") is None


@pytest.mark.parametrize("value", [3, {"0": 3}, {"0": []}])
def test_refuses_what_has_no_names(value: object, tmp_path: Path) -> None:
    """The message names the file."""
    file = tmp_path / "index_to_name.json"
    file.write_text(json.dumps(value))

    with pytest.raises(ValueError, match=r"index_to_name\.json"):
        load_label_mapping(file)


def test_gives_probabilities_by_label() -> None:
    """Classes that are not named, and those without a name, are numbers."""
    assert map_class_to_label([[0.9, 0.1]], {"7": "cat"}, [[7, 3]]) == [{"cat": 0.9, "3": 0.1}]
    assert map_class_to_label([[0.9, 0.1]]) == [{"0": 0.9, "1": 0.1}]
