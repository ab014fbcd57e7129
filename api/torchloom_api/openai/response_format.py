"""Response format: the form that an answer is to have, as a model's parameter. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from torchloom.errors import nearest
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct


#: A value of the parameter `structured_outputs` of language models.
Form = Mapping[str, object]

_Kind = Literal["text", "json_object", "json_schema"]

#: The field beyond OpenAI's, which has the parameter's own name: it is vLLM's.
EXTRA_FIELD: Final = "structured_outputs"


class NamedSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON Schema. It is always kept to, whatever `strict` says."""

    name: str
    schema: dict[str, object]
    strict: bool | None = None
    description: str | None = None


def choose_form(
    extra: Form | None, given: Mapping[str, object] | None, *, place: str, is_flat: bool = False
) -> Form | None:
    """Give the form that a request asks for, None where it asks for any text.

    `extra` is its field `structured_outputs`, and `given` what stands at `place`; `is_flat` where
    a schema stands in that itself, and not in its key `json_schema`. Raises InvalidRequest.
    """
    form = None if given is None else _to_form(given, place, is_flat=is_flat)
    if form is not None and extra is not None:
        message = f"Give either {place!r} or {EXTRA_FIELD!r}, not both."
        raise InvalidRequest(message, param=EXTRA_FIELD, code="invalid_value")
    return extra if form is None else form


def _to_form(given: Mapping[str, object], place: str, *, is_flat: bool) -> Form | None:
    kind = given.get("type")
    match kind:
        case "text":
            return None
        case "json_object":
            return {"json_object": True}
        case "json_schema":
            values = given if is_flat else given.get("json_schema")
            place = place if is_flat else f"{place}.json_schema"
            if values is None:
                message = f"The field {place!r} is missing."
                raise InvalidRequest(message, param=place, code="missing_required_parameter")
            return {"json": to_struct(values, NamedSchema, place).schema}
    known = get_args(_Kind)
    message = f"'{place}.type': there is no form {kind!r}.{nearest(str(kind), known)}"
    raise InvalidRequest(message, param=f"{place}.type", code="invalid_value")
