"""Notation: what an answer is beside text: a form that it keeps to, and calls. Knows no tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torchloom_models.llm.grammar.constraint import Constraint
from torchloom_models.llm.tool.call_parser import CallParser


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """`constraint` says what the answer looks like, `calls` tells calls of tools from text."""

    constraint: Constraint | None = None
    calls: CallParser | None = None


#: Any text, and nothing else.
PLAIN: Final = Notation()
