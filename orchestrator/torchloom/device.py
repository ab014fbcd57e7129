"""Device: a value that names where an engine runs. Knows nothing of what is plugged in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from torchloom.errors import DeviceUnavailable


_PATTERN = re.compile(r"(?P<kind>[a-z]+)(:(?P<unit>[A-Za-z0-9.]+))?")

#: Kinds of device that have a backend. More arrive by entry point later.
KNOWN_KINDS = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Device:
    """A device such as `cpu`, `cuda:0`, or `auto` (the worker picks the best that it finds)."""

    kind: str
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `cpu`, `cuda`, `cuda:0`, `auto`; raise DeviceUnavailable for anything else."""
        match = _PATTERN.fullmatch(text)
        if match is None or match["kind"] not in KNOWN_KINDS:
            known = ", ".join((*KNOWN_KINDS, "cuda:0"))
            message = f"Unknown device {text!r}. Write one of: {known}."
            raise DeviceUnavailable(message)
        return cls(match["kind"], match["unit"] or "")

    def __str__(self) -> str:
        """Render as it is written in YAML."""
        return f"{self.kind}:{self.unit}" if self.unit else self.kind
