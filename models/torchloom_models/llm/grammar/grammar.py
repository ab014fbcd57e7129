"""Grammar: a constraint, compiled for one vocabulary, within bounds of size and of time."""

from __future__ import annotations

import json
import re
from typing import Final

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.constraint import Constraint, walk
from torchloom_models.llm.grammar.space import JSON_SPACE
from torchloom_models.llm.grammar.state import GrammarState, reason


#: The library counts its own work: no compilation and no look for tokens takes more than this, some
#: tenths of a second for the first and some ten milliseconds for the second.
_MAX_STATES: Final = 50_000

#: How many ways an answer may stand open at once: each optional property is some.
_MAX_WAYS: Final = 20_000

#: How the library says which words of JSON Schema it does not know.
_MISSING: Final = re.compile(r"Unimplemented keys: \[(.*)\]")


class Grammar:
    """Hands out states, each at the beginning. Raises InvalidInput where there can be none."""

    def __init__(self, constraint: Constraint, vocabulary: LLTokenizer) -> None:
        self._matcher = LLMatcher(
            vocabulary,
            _source(constraint),
            log_level=0,
            limits=LLParserLimits(
                max_items_in_row=_MAX_WAYS, max_lexer_states=_MAX_STATES, verbose_errors=False
            ),
        )
        # Some faults, such as endless references, show only where a token is looked for, and others
        # where one is taken.
        if not self._matcher.is_error():
            _try_first_token(self._matcher.deep_copy(), constraint)
        if self._matcher.is_error():
            raise _error(constraint, self._matcher)

    def begin(self) -> GrammarState:
        """Give a state of its own for one answer."""
        return GrammarState(self._matcher.deep_copy())


def _source(constraint: Constraint) -> str:
    if constraint.kind == "json":
        return LLMatcher.grammar_from_json_schema(
            constraint.text, overrides={"whitespace_pattern": JSON_SPACE}
        )
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.text)
    return LLMatcher.grammar_from_lark(constraint.text)


def _try_first_token(probe: LLMatcher, constraint: Constraint) -> None:
    bits = int.from_bytes(probe.compute_bitmask(), "little")
    if bits and not probe.is_error():
        lowest = (bits & -bits).bit_length() - 1
        probe.consume_token(lowest)
        probe.compute_bitmask()
    if probe.is_error():
        raise _error(constraint, probe)


def _error(constraint: Constraint, matcher: LLMatcher) -> InvalidInput:
    what = reason(matcher)
    missing = _MISSING.match(what)
    if missing is not None and constraint.kind == "json":
        words = json.loads(f"[{missing[1]}]")
        schema = json.loads(constraint.text)
        places = [place for _, place, key, _ in walk(schema) if key in words]
        what = f"{missing[1]} is not served, which stands at {', '.join(places[:3])}."
    return InvalidInput(f"{constraint.name} cannot be kept to: {what}")
