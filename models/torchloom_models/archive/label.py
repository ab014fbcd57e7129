"""Labels: `index_to_name.json`, and probabilities under its names. TorchServe's face."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path


_log = logging.getLogger(__name__)


def load_label_mapping(mapping_file_path: str | Path) -> dict[str, str] | None:
    """Read names by class; None where there is no file. Raises ValueError for what is no such file.

    A class may have several names, of which the last counts.
    """
    file = Path(mapping_file_path)
    if not file.is_file():
        _log.warning("%s is not there: labels are the numbers of classes", file.name)
        return None
    read = json.loads(file.read_text(encoding="utf-8"))
    names = read.get("object_type_names") if isinstance(read, dict) else read
    if isinstance(names, list):
        read = {str(number): name for number, name in enumerate(names)}
    if not isinstance(read, dict):
        message = f"{file.name} is no object of names by class."
        raise ValueError(message)  # noqa: TRY004 - of the file, not of a caller
    return {str(key): _name(value, file) for key, value in read.items()}


def _name(value: object, file: Path) -> str:
    last = value[-1] if isinstance(value, list) and value else value
    if not isinstance(last, str):
        message = f"{file.name}: a label is text, or a list that ends with it, not {value!r}."
        raise ValueError(message)  # noqa: TRY004 - of the file, not of a caller
    return last


def map_class_to_label(
    probs: Sequence[Sequence[float]],
    mapping: Mapping[str, str] | None = None,
    lbl_classes: Sequence[Sequence[int]] | None = None,
) -> list[dict[str, float]]:
    """Give each row's probabilities by label; where no classes are given, they count from 0."""
    names = mapping or {}
    classes = lbl_classes or [list(range(len(row))) for row in probs]
    return [
        {names.get(str(number), str(number)): prob for number, prob in zip(own, row, strict=True)}
        for own, row in zip(classes, probs, strict=True)
    ]
