"""Device: a value that names where an engine runs. Knows nothing of what is plugged in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

from torchloom.errors import DeviceUnavailable


_PATTERN = re.compile(r"(?P<kind>[a-z]+)(:(?P<unit>[A-Za-z0-9.]+))?")

#: Kinds of device that have a backend. More arrive by entry point later.
KNOWN_KINDS = ("auto", "cpu", "cuda", "openvino")

#: How the units of each kind are written; none where a kind has no units.
_UNITS = {"cuda": re.compile(r"[0-9]*"), "openvino": re.compile(r".*")}

#: What may be written, for messages.
_EXAMPLES = (*KNOWN_KINDS, "cuda:0", "openvino:CPU", "openvino:GPU", "openvino:NPU")


@dataclass(frozen=True, slots=True)
class Device:
    """A device such as `cpu`, `cuda:0`, `openvino:GPU.0`, or `auto` (the worker picks the best).

    OpenVINO's units are in capitals, as OpenVINO names them, and never empty.
    """

    kind: str
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `cpu`, `cuda:0`, `openvino:GPU`, `auto`; raise DeviceUnavailable for what is none.

        `openvino` alone is `openvino:CPU`.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or match["kind"] not in KNOWN_KINDS:
            message = f"Unknown device {text!r}. Write one of: {', '.join(_EXAMPLES)}."
            raise DeviceUnavailable(message)
        unit = match["unit"] or ""
        units = _UNITS.get(match["kind"])
        if unit and units is None:
            message = (
                f"Unknown device {text!r}: {match['kind']!r} has no units. Leave {unit!r} out."
            )
            raise DeviceUnavailable(message)
        if units is not None and not units.fullmatch(unit):
            message = f"Unknown device {text!r}. Number it, as in {match['kind'] + ':0'!r}."
            raise DeviceUnavailable(message)
        return cls(match["kind"], (unit.upper() or "CPU") if match["kind"] == "openvino" else unit)

    def __str__(self) -> str:
        """Render as it is written in YAML."""
        return f"{self.kind}:{self.unit}" if self.unit else self.kind


@cache
def is_on(hint: str, device: str) -> bool:
    """Tell whether a device is the one that a hint names; `cuda` names every CUDA device.

    Raises DeviceUnavailable for what is none.
    """
    wanted, there = Device.parse(hint), Device.parse(device)
    if wanted.kind != there.kind:
        return False
    return not wanted.unit or wanted.unit == (there.unit or "0")
