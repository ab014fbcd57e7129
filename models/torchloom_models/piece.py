"""Piece: what is told of one piece of compiled code. Knows no compiler."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of compiled code, and how it came about.

    `artefact` is its name in the store; None where torch keeps it its own way. `is_new`: it was not
    there before. `seconds`: what making or loading it took.
    """

    part: str
    route: str
    seconds: float
    artefact: str | None
    is_new: bool
