"""SamplingParams: how one answer is drawn and where it ends. Knows no tensors and no sequence.

Names, ranges and meanings are those of the kind's published table; this module holds the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Self, cast

from torchloom.departure import SchemaCheck
from torchloom.errors import InvalidInput
from torchloom_models.kind import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Checked parameters of one request. The defaults take the likeliest token each time.

    `max_tokens` None means as many as the context has room for; `top_k` 0 means all tokens; `seed`
    None means another answer each time; `logprobs` and `prompt_logprobs` None tell of no token.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    structured_outputs: Mapping[str, object] | None = None
    logprobs: int | None = None
    prompt_logprobs: int | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0.0

    @property
    def has_penalties(self) -> bool:
        """Whether tokens seen before change the logits."""
        return (
            self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )

    def updated(self, values: Mapping[str, object]) -> Self:
        """Give a copy with `values` (JSON values, as users write them) in place.

        None leaves a value as it is. Raises InvalidInput, by name, for unknown parameters and for
        those out of their range.
        """
        given = {name: value for name, value in values.items() if value is not None}
        if not given:
            return self
        try:
            wrong = _check().find(given)
        except ValueError as error:
            raise InvalidInput(f"The sampling parameters are no JSON values: {error}") from error
        if wrong:
            raise InvalidInput(" ".join(departure.message for departure in wrong))
        changes = {name: _from_json(name, value) for name, value in given.items()}
        return replace(self, **changes)  # type: ignore[arg-type]  # the schema has checked the types


def _from_json(name: str, value: object) -> object:
    """Turn a checked value into the form that the field has."""
    if name == "logit_bias" and isinstance(value, Mapping):
        return {int(token): float(bias) for token, bias in value.items()}
    if name == "stop":
        return (value,) if isinstance(value, str) else tuple(cast("list[str]", value))
    return value


@cache
def _check() -> SchemaCheck:
    schema = {
        "type": "object",
        "properties": dict(KINDS["llm"].signature.params),
        "additionalProperties": False,
    }
    return SchemaCheck(schema, key="sampling parameter")
