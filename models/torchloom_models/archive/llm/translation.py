"""Translation: what an archive says of an engine, in the words of a model file. Knows no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from torchloom.errors import InvalidModel


#: How engines call what is calculated in → how a model file does.
_DTYPES: Final[Mapping[str, str]] = {
    "auto": "auto",
    "half": "float16",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float": "float32",
    "float32": "float32",
}


@dataclass(slots=True, kw_only=True)
class Translation:
    """Keys of a model file of kind `llm`, and a note for each thing that counts for nothing.

    `section` is where the archive says it, and `whose` names the archive.
    """

    section: str
    whose: str
    fields: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, key: str, value: object) -> int:
        """Read a whole number above 0. Raises InvalidModel."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "It must be a whole number above 0.")
        return value

    def dtype(self, key: str, value: object) -> str:
        """Read what is calculated in. Raises InvalidModel."""
        if not isinstance(value, str) or value not in _DTYPES:
            raise self.wrong(key, value, f"There are: {', '.join(_DTYPES)}.")
        return _DTYPES[value]

    def flag(self, key: str, value: object) -> bool:
        """Read true or false. Raises InvalidModel."""
        if not isinstance(value, bool):
            raise self.wrong(key, value, "It must be true or false.")
        return value

    def text(self, key: str, value: object) -> str:
        """Read a text that is not empty. Raises InvalidModel."""
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "It must be a text that is not empty.")
        return value

    def mapping(self, key: str, value: object) -> Mapping[str, object]:
        """Read a mapping; what is not said is empty. Raises InvalidModel."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, value, "It must be a mapping of keys to values.")
        return {str(name): each for name, each in value.items()}

    def wrong(self, key: str, value: object, how: str) -> InvalidModel:
        """Make the error for a value that cannot be."""
        written = f"{self._name(key)}: {value!r}"[:200]
        return InvalidModel(f"`{written}` of {self.whose} cannot be. {how}")

    def pass_over(self, key: str, value: object, why: str) -> None:
        """Note what counts for nothing, and why."""
        written = f"{self._name(key)}: {value}"[:200]
        self.notes.append(f"`{written}` counts for nothing: {why}.")

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self.section, key) if part)
