"""Schemas of the OpenAPI document, made from the structs of bodies that are read by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from torchloom_api.openapi_part import Json


_ROOT: Final = "#/components/schemas/{name}"


def to_schemas(kinds: Iterable[type]) -> Json:
    """Give the schemas of structs, and of all that they hold, by name."""
    _, components = msgspec.json.schema_components(
        kinds, ref_template=_ROOT, schema_hook=_to_schema
    )
    return dict(components)


def to_content(kind: type) -> Json:
    """Describe a body of JSON that is such a struct."""
    return {"application/json": {"schema": refer(kind)}}


def refer(kind: type) -> Json:
    """Refer to the schema of a struct."""
    return {"$ref": _ROOT.format(name=kind.__name__)}


def _to_schema(kind: type) -> Json:
    """Describe what is checked by hand."""
    if kind is object:
        return {"description": "Checked when it is read."}
    raise NotImplementedError
