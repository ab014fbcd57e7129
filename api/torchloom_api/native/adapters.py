"""Routes of a model's adapters: list, load, unload."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import Response, delete, get, post

from torchloom_api.adapter_shelf import AdapterEntry
from torchloom_api.body import read_struct
from torchloom_api.label import split_label
from torchloom_api.native.access import MANAGEMENT, READING
from torchloom_api.native.request import AnyRequest, PathText, ServiceParam, to_exchange


class AdapterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An adapter to load, and from where."""

    name: str
    source: str


class AdapterViews(msgspec.Struct, frozen=True, kw_only=True):
    """Every adapter that a model has."""

    items: Sequence[AdapterEntry]


@get("/models/{label:str}/adapters", opt=READING, operation_id="listAdapters")
async def list_adapters(label: PathText, service: ServiceParam) -> AdapterViews:
    """List the adapters that may be asked for."""
    return AdapterViews(items=service.adapters.list(*split_label(label)))


@post("/models/{label:str}/adapters", opt=MANAGEMENT, operation_id="loadAdapter")
async def load_adapter(
    label: PathText, request: AnyRequest, service: ServiceParam
) -> Response[AdapterEntry]:
    """Load an adapter into every worker; answers when it may be asked for. 200: it was there."""
    body = await read_struct(to_exchange(request), service.settings.body_limit, AdapterBody)
    name, version = split_label(label)
    entry, is_new = await service.adapters.load(
        name, version, adapter=body.name, source=body.source
    )
    return Response(entry, status_code=201 if is_new else 200)


@delete("/models/{label:str}/adapters/{adapter:str}", opt=MANAGEMENT, operation_id="unloadAdapter")
async def unload_adapter(label: PathText, adapter: PathText, service: ServiceParam) -> None:
    """Let nobody ask for an adapter any more; answers that it writes now are finished."""
    name, version = split_label(label)
    await service.adapters.unload(name, version, adapter=adapter)


#: Every route of this page.
ROUTES = (list_adapters, load_adapter, unload_adapter)
