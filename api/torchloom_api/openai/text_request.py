"""The fields that requests for text share. Knows no prompt and no messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.response_format import EXTRA_FIELD, Form, choose_form
from torchloom_api.openai.token_logprob import MAX_TOP
from torchloom_api.openai.unserved_field import Table, refuse_unserved


#: The most choices of one prompt, as OpenAI has it.
_MAX_CHOICES: Final = 128

#: Seeds of models go from 0 to one below this; OpenAI's may be negative.
_NUM_SEEDS: Final = 2**63

#: Fields that models have under the same name, whose ranges their signature checks.
_PASSED: Final = (
    "frequency_penalty",
    "ignore_eos",
    "logit_bias",
    "min_p",
    "min_tokens",
    "presence_penalty",
    "repetition_penalty",
    "stop",
    "temperature",
    "top_k",
    "top_p",
)

#: Numbers of tokens beyond this mean nothing, and do not fit where they are sent.
_MAX_NUMBER: Final = 2**31 - 1

Positive = Annotated[int, Meta(ge=1, le=_MAX_NUMBER)]
Count = Annotated[int, Meta(ge=0, le=_MAX_NUMBER)]

#: How many of the likeliest tokens are told in place of each.
NumTop = Annotated[int, Meta(ge=0, le=MAX_TOP)]


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class WritingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How text is to be written. What is left out is as the model file, or the model, has it."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    # Not OpenAI's, but usual (`extra_body` of its client).
    top_k: Count | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: Count | None = None
    ignore_eos: bool | None = None
    structured_outputs: dict[str, object] | None = None

    @property
    def form(self) -> Form | None:
        """The form that the answer is to have. Raises InvalidRequest."""
        return self.structured_outputs

    @property
    def form_field(self) -> str:
        """The field that the form was given in."""
        return EXTRA_FIELD

    def check_stream(self) -> None:
        """Refuse options of a stream that is not asked for, or is not served."""
        if self.stream_options is None:
            return
        if not self.stream:
            message = "'stream_options' may be given only where 'stream' is true."
            raise InvalidRequest(message, param="stream_options", code="invalid_value")
        options = {"include_obfuscation": self.stream_options.include_obfuscation}
        refuse_unserved(options, {"include_obfuscation": (False,)}, "stream_options.")

    def to_params(self, max_tokens: int | None) -> dict[str, object]:
        """Give what is asked for as a model's parameters, without the seed."""
        given = {name: getattr(self, name) for name in _PASSED}
        params = {name: value for name, value in given.items() if value is not None}
        form = self.form
        if form is not None:
            params[EXTRA_FIELD] = form
        return params if max_tokens is None else {**params, "max_tokens": max_tokens}

    def to_extras(self, fields: Mapping[str, object], unserved: Table) -> dict[str, object]:
        """Give the fields of the body that neither this request nor OpenAI knows."""
        known = {*self.__struct_fields__, *unserved}
        return {name: value for name, value in fields.items() if name not in known}


class TextRequest(WritingRequest, frozen=True, kw_only=True):
    """What chat completions and completions share."""

    n: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] | None = None
    max_tokens: Positive | None = None
    response_format: dict[str, object] | None = None

    @property
    def form(self) -> Form | None:
        """The form that the answer is to have. Raises InvalidRequest."""
        return choose_form(self.structured_outputs, self.response_format, place="response_format")

    @property
    def form_field(self) -> str:
        """The field that the form was given in."""
        return EXTRA_FIELD if self.structured_outputs is not None else "response_format"

    @property
    def num_choices(self) -> int:
        """How many answers each prompt gets."""
        return self.n or 1

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def to_seed(seed: int | None, choice: int) -> dict[str, object]:
    """Give the seed of one choice as a model takes it: the first has the one that is asked for."""
    return {} if seed is None else {"seed": (seed + choice) % _NUM_SEEDS}
