"""FailedList: registrations that do not serve, and why, so that a client may ask later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Self

from torchloom.deployment import Deployment
from torchloom.errors import TorchLoomError
from torchloom.graph import Graph


Kind = Literal["models", "workflows"]

#: How many failed requests are remembered; what the store holds always is.
_MAX_REMEMBERED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A registration that does not serve. `is_kept`: it lies in the store, and should."""

    kind: Kind
    name: str
    version: int
    error: TorchLoomError
    is_kept: bool = False

    @classmethod
    def of(cls, thing: Deployment | Graph, error: TorchLoomError) -> Self:
        """Note that a request to register this failed."""
        kind: Kind = "models" if isinstance(thing, Deployment) else "workflows"
        return cls(kind=kind, name=thing.name, version=thing.version, error=error)


class FailedList:
    """The failures by kind, name and version, the latest last. Bounded."""

    def __init__(self) -> None:
        self._failed: dict[tuple[Kind, str, int], Failed] = {}

    def __iter__(self) -> Iterator[Failed]:
        """Go through all of them."""
        return iter(list(self._failed.values()))

    def add(self, failed: Failed) -> None:
        """Remember a failure, in place of an earlier one of the same version."""
        key = (failed.kind, failed.name, failed.version)
        before = self._failed.pop(key, None)
        if before is not None and before.is_kept:
            failed = before
        self._failed[key] = failed
        passing = [key for key, each in self._failed.items() if not each.is_kept]
        for old in passing[:-_MAX_REMEMBERED]:
            del self._failed[old]

    def forget(self, kind: Kind, name: str, version: int) -> None:
        """Forget a version that serves, or is no longer wanted."""
        self._failed.pop((kind, name, version), None)

    def find(self, kind: Kind, name: str, version: int | None) -> Failed | None:
        """Give the latest failure of a version, or of any."""
        found = [each for each in self.of_kind(kind) if each.name == name]
        return next((f for f in reversed(found) if version in (None, f.version)), None)

    def versions(self, kind: Kind, name: str, version: int | None) -> list[int]:
        """List the versions of a name that failed, or the one that is asked for if it did."""
        found = [each.version for each in self.of_kind(kind) if each.name == name]
        return [each for each in found if version in (None, each)]

    def of_kind(self, kind: Kind) -> list[Failed]:
        """List those of one kind."""
        return [each for each in self._failed.values() if each.kind == kind]
