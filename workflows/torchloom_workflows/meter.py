"""Meter: bounds the work and the memory of one evaluation. Knows no template.

A unit is about half a microsecond of work, or 64 characters, or 4 values. What an operation will
take is charged before it is done, so that nothing large is ever begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Undefined


#: Units that one evaluation may use.
MAX_UNITS = 250_000

#: Characters of text that one evaluation may give, in all.
MAX_CHARS = 4_000_000

#: Bits of the largest whole number that is worked with.
MAX_BITS = 4096

#: Lists and mappings in each other.
MAX_DEPTH = 64

CHARS_PER_UNIT = 64
VALUES_PER_UNIT = 4
_CHARS_PER_VALUE = CHARS_PER_UNIT // VALUES_PER_UNIT


class TooMuch(Exception):
    """The evaluation would take more than it may."""


class Meter:
    """What is left of one evaluation's units and characters."""

    __slots__ = ("chars_left", "units_left")

    def __init__(self) -> None:
        self.units_left = MAX_UNITS
        self.chars_left = MAX_CHARS

    def charge(self, units: int) -> None:
        """Take units, at least one. Raises TooMuch when they are used up."""
        self.units_left -= max(1, units)
        if self.units_left < 0:
            raise TooMuch(f"it takes too long (more than {MAX_UNITS} units of work)")

    def charge_text(self, num_chars: int) -> None:
        """Take characters that are to be output. Raises TooMuch when they are used up."""
        self.chars_left -= num_chars
        if self.chars_left < 0:
            raise TooMuch(f"its text is too long (more than {MAX_CHARS} characters)")
        self.charge(num_chars // CHARS_PER_UNIT)

    def charge_copy(self, num_chars: int) -> None:
        """Take units for a text that is to be made on the way."""
        if num_chars > MAX_CHARS:
            raise TooMuch(f"a text is too long (more than {MAX_CHARS} characters)")
        self.charge(num_chars // CHARS_PER_UNIT)

    def charge_size(self, value: object) -> None:
        """Take units for a value by its length, without looking into its elements."""
        self.charge_items(value, 1)

    def charge_items(self, value: object, times: int) -> None:
        """Take units for that many copies of a text, list or mapping, side by side."""
        if isinstance(value, str):
            self.charge_copy(len(value) * times)
        elif isinstance(value, Sequence | Mapping):
            self.charge(len(value) * times // VALUES_PER_UNIT)
        else:
            self.charge(1)

    def charge_whole(self, value: object) -> None:
        """Take units for a value with all that is in it, looking no further than they last."""
        most = self.units_left * VALUES_PER_UNIT
        # One more, rounding up: what weighs more than `most` must not pass.
        self.charge(weigh(value, most) // VALUES_PER_UNIT + 1)


def weigh(value: object, most: int) -> int:
    """Count values and pieces of text, level by level, until there are more than `most`.

    What is shared counts each time: lists that hold one another twice grow without taking memory.
    Raises TooMuch for what is too deep.
    """
    level: list[object] = [value]
    total = 1
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for inner in level:
            kind = type(inner)
            if kind is dict:
                total += 2 * len(inner)  # type: ignore[arg-type]  # it is a dict
            elif isinstance(inner, list | tuple):
                total += len(inner)
            elif kind is str or kind is bytes:
                total += len(inner) // _CHARS_PER_VALUE  # type: ignore[arg-type]  # it has a length
                continue
            else:
                if isinstance(inner, Undefined):
                    # Fails, saying what is missing: nothing may hide in a list.
                    str(inner)
                continue
            if total > most:
                return total
            if kind is dict:
                below.extend(inner)  # type: ignore[arg-type]  # it is a dict
                below.extend(inner.values())  # type: ignore[attr-defined]  # it is a dict
            else:
                below.extend(inner)  # type: ignore[arg-type]  # it is a list
        if not below:
            return total
        level = below
    raise TooMuch(f"lists and mappings lie in each other more than {MAX_DEPTH} deep")


def check_int(value: object) -> object:
    """Give the value, unless it is a whole number of too many digits. Raises TooMuch."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise TooMuch(f"a whole number has more than {MAX_BITS} bits")
    return value
