"""Traffic: the body that splits requests between versions by weight, and names a shadow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

import msgspec

from torchloom.errors import Fault, InvalidInput
from torchloom.traffic import Shadow
from torchloom_api.body import read_struct
from torchloom_api.exchange import Exchange
from torchloom_api.service import Service


#: No version is higher.
_MAX_VERSION: Final = 999_999_999

#: Of all requests a version may get copies, and of none it needs no shadow.
_MAX_PERCENT: Final = 100


class ShadowBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version that is given copies of so many of the requests that others answer."""

    version: int
    percent: float


class TrafficBody(msgspec.Struct, frozen=True):
    """`{"weights": {"1": 0.9, "2": 0.1}, "shadow": {"version": 3, "percent": 10}}`."""

    weights: Mapping[str, float]
    shadow: ShadowBody | None = None


class TrafficView(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the requests of a name are split: share of each version, 0 to 1; and the shadow."""

    name: str
    weights: Mapping[int, float]
    shadow: ShadowBody | None = None

    @classmethod
    def of(cls, name: str, weights: Mapping[int, float], shadow: Shadow | None) -> Self:
        """Show what has been set."""
        total = sum(weights.values())
        shares = {version: weight / total for version, weight in weights.items()}
        shown = None if shadow is None else ShadowBody(shadow.version, shadow.percent)
        return cls(name, shares, shown)


async def read_traffic(
    service: Service, exchange: Exchange
) -> tuple[dict[int, float], Shadow | None]:
    """Read a split and its shadow. InvalidInput for what is no version, and no percentage."""
    body = await read_struct(exchange, service.settings.body_limit, TrafficBody)
    return to_weights(body.weights), None if body.shadow is None else _to_shadow(body.shadow)


def to_weights(weights: Mapping[str, float]) -> dict[int, float]:
    """Read versions; InvalidInput names what is none."""
    for key in weights:
        if not (key.isascii() and key.isdigit() and 0 < int(key[:10]) <= _MAX_VERSION):
            message = f'{key!r} is no version: write whole numbers, such as "1".'
            raise InvalidInput(message, faults=[Fault(message=message, pointer="/weights")])
    return {int(key): weight for key, weight in weights.items()}


def _to_shadow(body: ShadowBody) -> Shadow:
    faults = []
    if not 0 < body.version <= _MAX_VERSION:
        message = f"{body.version} is no version: write a whole number, such as 2."
        faults.append(Fault(message=message, pointer="/shadow/version"))
    if not 0 < body.percent <= _MAX_PERCENT:
        message = (
            f"A shadow gets copies of more than 0 and at most {_MAX_PERCENT} percent of the "
            f"requests, not of {body.percent:g}. For none, leave 'shadow' out."
        )
        faults.append(Fault(message=message, pointer="/shadow/percent"))
    if faults:
        raise InvalidInput(faults[0].message, faults=faults)
    return Shadow(version=body.version, percent=body.percent)
