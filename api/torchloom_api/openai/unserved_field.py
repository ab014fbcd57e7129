"""Unserved fields: what OpenAI's requests may hold and is not served here, so that it is refused.

A field may stand at a value that asks for nothing; null always is one, also in an object. Fields
that are in no table and no request are unknown, and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from torchloom_api.openai.error import InvalidRequest


#: By field, the values that ask for nothing.
Table = Mapping[str, Sequence[object]]

_SHARED: Final[Table] = {
    "service_tier": ("auto", "default"),
}

CHAT: Final[Table] = {
    **_SHARED,
    "audio": (),
    "function_call": ("none",),
    "functions": (),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}

COMPLETION: Final[Table] = {
    **_SHARED,
    "suffix": ("",),
}

EMBEDDING: Final[Table] = {}

RESPONSE: Final[Table] = {
    **_SHARED,
    "background": (False,),
    "context_management": ([],),
    "conversation": (),
    "max_tool_calls": (),
    "moderation": (),
    "previous_response_id": (),
    "prompt": (),
    "reasoning": ({}, {"effort": "none"}),
    "store": (False,),
    "truncation": ("disabled",),
}

PICTURE: Final[Table] = {
    "background": ("auto", "opaque"),
    "complexity": (),
    "frame_count": (1,),
    "frame_duration_ms": (),
    "moderation": ("auto", "low"),
    "output_compression": (100,),
    "output_format": ("png",),
    "partial_images": (0,),
    "quality": ("auto", "standard"),
    "response_format": ("b64_json",),
    "stream": (False,),
    "style": (),
    "svg": (),
}

RERANK: Final[Table] = {
    "max_chunks_per_doc": (),
    "max_tokens_per_doc": (),
    "rank_fields": (["text"],),
}

#: Keys of a response's `text`.
TEXT: Final[Table] = {
    "verbosity": ("medium",),
}

#: What to do without a field, where leaving it out is not all.
_HINTS: Final[Mapping[str, str]] = {
    "conversation": "nothing is stored, so send the whole conversation as 'input'",
    "previous_response_id": "nothing is stored, so send the whole conversation as 'input'",
    "store": "nothing is stored, so keep the answer yourself",
}

#: Keys of a message.
MESSAGE: Final[Table] = {
    "audio": (),
    "function_call": (),
    "refusal": (),
}


def refuse_unserved(values: Mapping[str, object], table: Table, place: str = "") -> None:
    """Raise InvalidRequest, by name, for the first field that asks for what is not served."""
    for name, neutral in table.items():
        value = _without_nulls(values.get(name))
        if value is None or any(_is_same(value, each) for each in neutral):
            continue
        param = f"{place}{name}"
        asked = f" other than {', '.join(map(repr, neutral))}" if neutral else ""
        message = (
            f"{param!r}{asked} is not served by this server: {_HINTS.get(name, 'leave it out')}."
        )
        raise InvalidRequest(message, param=param, code="unsupported_parameter")


def _without_nulls(value: object) -> object:
    """Leave out what some clients fill objects up with."""
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if each is not None}


def _is_same(value: object, neutral: object) -> bool:
    """Compare as JSON does: `false` is not 0."""
    return type(value) is type(neutral) and value == neutral
