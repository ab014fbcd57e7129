"""Numbers as Java writes them, which is how TorchServe's page and logs have them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final


#: Between these Java writes no exponent.
_PLAIN_FROM: Final = 1e-3
_PLAIN_TO: Final = 1e7


def write_number(value: float) -> str:
    """Write a number as `Double.toString` does: `1.0`, `1.2917103519E7`, `Infinity`."""
    if _PLAIN_FROM <= value < _PLAIN_TO:  # almost every one
        return repr(float(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_TO:
        return repr(float(value))
    digits = Decimal(repr(float(value))).normalize().as_tuple()
    text = "".join(map(str, digits.digits))
    exponent = int(digits.exponent) + len(text) - 1
    sign = "-" if digits.sign else ""
    return f"{sign}{text[0]}.{text[1:] or '0'}E{exponent}"


def write_sample(value: float) -> str:
    """Write a number as Prometheus' client for Java does: as above, but `+Inf`."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return write_number(value)
