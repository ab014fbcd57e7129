"""Numbers in Java's words."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.telemetry.java_number import write_number, write_sample


#: Value → text, as the real TorchServe 0.12 has written them, or Java's documentation says.
WRITTEN = {
    1.0: "1.0",
    -0.0: "-0.0",
    0.91: "0.91",
    6013.0: "6013.0",
    78.70486450195312: "78.70486450195312",
    6089490.68: "6089490.68",
    12917103.519: "1.2917103519E7",
    10_000_000.0: "1.0E7",
    -12345678.0: "-1.2345678E7",
    0.001: "0.001",
    0.0001: "1.0E-4",
    0.00012345: "1.2345E-4",
    1e300: "1.0E300",
}


@pytest.mark.parametrize(("value", "text"), WRITTEN.items())
def test_writes_as_java_does(value: float, text: str) -> None:
    """Exponents are for what is below a thousandth, or ten millions and more."""
    assert (write_number(value), write_sample(value)) == (text, text)
    assert float(text) == value


def test_writes_what_is_no_finite_number() -> None:
    """A page and a log have other words for the infinite."""
    values = [float("nan"), float("inf"), float("-inf")]

    assert [write_number(each) for each in values] == ["NaN", "Infinity", "-Infinity"]
    assert [write_sample(each) for each in values] == ["NaN", "+Inf", "-Inf"]
