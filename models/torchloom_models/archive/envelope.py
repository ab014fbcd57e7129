"""Envelopes by name, around an entry. Imports the one that is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final, cast

from torchloom.errors import InvalidModel, nearest
from torchloom_models.archive.entry import Entry


_ENVELOPES: Final[Mapping[str, str]] = {
    "body": "BodyEnvelope",
    "json": "JSONEnvelope",
    "kserve": "KServeEnvelope",
    "kservev2": "KServev2Envelope",
}


def wrap(entry: Entry, name: str) -> Entry:
    """Put an entry into an envelope. Raises InvalidModel for one that there is not."""
    if name not in _ENVELOPES:
        raise InvalidModel(f"There is no envelope {name!r}.{nearest(name, _ENVELOPES)}")
    module = importlib.import_module(f"ts.torch_handler.request_envelope.{name}")
    return cast("Entry", getattr(module, _ENVELOPES[name])(entry).handle)
