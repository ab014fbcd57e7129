"""Traffic: the body that splits requests between versions by weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from torchloom.errors import Fault, InvalidInput
from torchloom_api.body import read_struct
from torchloom_api.exchange import Exchange
from torchloom_api.service import Service


#: No version is higher.
_MAX_VERSION: Final = 999_999_999


class TrafficBody(msgspec.Struct, frozen=True):
    """`{"weights": {"1": 0.9, "2": 0.1}}`."""

    weights: Mapping[str, float]
    shadow: object = None


class TrafficView(msgspec.Struct, frozen=True):
    """How the requests of a name are split: share of each version, 0 to 1."""

    name: str
    weights: Mapping[int, float]


async def read_weights(service: Service, exchange: Exchange) -> dict[int, float]:
    """Read a split. InvalidInput for what is no version, and for what is not supported."""
    body = await read_struct(exchange, service.settings.body_limit, TrafficBody)
    if body.shadow is not None:
        fault = Fault(message="'shadow' is not supported: send 'weights'.", pointer="/shadow")
        raise InvalidInput(fault.message, faults=[fault])
    return to_weights(body.weights)


def to_weights(weights: Mapping[str, float]) -> dict[int, float]:
    """Read versions; InvalidInput names what is none."""
    for key in weights:
        if not (key.isascii() and key.isdigit() and 0 < int(key[:10]) <= _MAX_VERSION):
            message = f'{key!r} is no version: write whole numbers, such as "1".'
            raise InvalidInput(message, faults=[Fault(message=message, pointer="/weights")])
    return {int(key): weight for key, weight in weights.items()}
