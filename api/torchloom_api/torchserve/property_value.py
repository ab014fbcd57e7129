"""Values of properties: a text to what its key means. Each raises ValueError with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, TypeVar, get_args

from torchloom.errors import nearest
from torchloom_api.torchserve.listen_address import ListenAddress, Scope


T = TypeVar("T")

MetricsMode = Literal["log", "prometheus", "legacy"]
KeystoreType = Literal["PKCS12", "JKS"]

_INT: Final = re.compile(r"[+-]?[0-9]+")

#: A name that HTTP has for a header (RFC 9110's token).
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")

_MAX_INT: Final = 2**31 - 1
_MAX_PORT: Final = 65_535


def read_text(text: str) -> str:
    """Take it as it is."""
    return text


def read_header(text: str) -> str:
    """Read the name of a header."""
    if _HEADER.fullmatch(text.strip()) is None:
        raise ValueError(f"{text!r} is no name of a header.")
    return text.strip()


def read_bool(text: str) -> bool:
    """Read `true` or `false`, in any case. Java takes all else for false; here it is an error."""
    known = {"true": True, "false": False}
    value = known.get(text.strip().lower())
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false.")
    return value


def read_int(text: str) -> int:
    """Read a whole number of Java's range."""
    if _INT.fullmatch(text.strip()) is None:
        raise ValueError(f"{text!r} is no whole number.")
    value = int(text)
    if abs(value) > _MAX_INT:
        raise ValueError(f"{text!r} is beyond {_MAX_INT}.")
    return value


def read_count(text: str) -> int:
    """Read a whole number from 0 up."""
    value = read_int(text)
    if value < 0:
        raise ValueError(f"{text!r} is below 0.")
    return value


def read_positive(text: str) -> int:
    """Read a whole number from 1 up."""
    value = read_int(text)
    if value < 1:
        raise ValueError(f"{text!r} is below 1.")
    return value


def read_port(text: str) -> int:
    """Read the number of a port."""
    value = read_count(text)
    if value > _MAX_PORT:
        raise ValueError(f"{text!r} is no port: {_MAX_PORT} is the highest.")
    return value


def read_minutes(text: str) -> float:
    """Read a time above 0; fractions are allowed."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number.") from None
    if not 0 < value < _MAX_INT:
        raise ValueError(f"{text!r} is not above 0.")
    return value


def read_address(scope: Scope) -> Callable[[str], ListenAddress]:
    """Make the reader of a port's address."""
    return lambda text: ListenAddress.parse(text.strip(), scope)


def read_pattern(text: str) -> re.Pattern[str]:
    """Read one regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}.") from None


def read_patterns(text: str) -> tuple[re.Pattern[str], ...]:
    """Read regular expressions for URLs, by commas; they match whole URLs, in any case."""
    return tuple(
        re.compile(read_pattern(part).pattern, re.IGNORECASE)
        for part in (each.strip() for each in text.split(","))
        if part
    )


def read_metrics_mode(text: str) -> MetricsMode:
    """Read where metrics go, in any case."""
    return _choose(text.strip().lower(), get_args(MetricsMode), text)


def read_keystore_type(text: str) -> KeystoreType:
    """Read what a keystore is, in any case."""
    return _choose(text.strip().upper(), get_args(KeystoreType), text)


def read_oip(text: str) -> bool:
    """Read the switch of the open inference protocol: `true`, `false` or its short name, `oip`."""
    return text.strip().lower() == "oip" or read_bool(text)


def _choose(value: str, known: tuple[T, ...], text: str) -> T:
    for each in known:
        if each == value:
            return each
    raise ValueError(f"{text!r} is not known.{nearest(value, [str(each) for each in known])}")
