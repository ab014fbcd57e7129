"""VersionTable: named things with versions side by side and a split of traffic between them.

Serves models and workflows alike; knows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from torchloom.errors import InvalidInput, TorchLoomError, nearest
from torchloom.traffic import Pair, Shadow, Traffic


T = TypeVar("T")


class VersionTable(Generic[T]):
    """Name → version → thing. Without a split, the highest version that serves gets everything.

    `serves` tells whether a thing can take requests now; if none can, the choice is the same as if
    all could.
    """

    def __init__(
        self,
        noun: str,
        unknown: type[TorchLoomError],
        *,
        serves: Callable[[T], bool] = lambda _: True,
    ) -> None:
        self._noun = noun
        self._unknown = unknown
        self._serves = serves
        self._things: dict[str, dict[int, T]] = {}
        self._splits: dict[str, Traffic] = {}

    def __iter__(self) -> Iterator[T]:
        """Go through everything, by name and version."""
        for name in sorted(self._things):
            yield from (self._things[name][version] for version in sorted(self._things[name]))

    def names(self) -> list[str]:
        """List the names."""
        return sorted(self._things)

    def find(self, name: str, version: int) -> T | None:
        """Give one version, or None."""
        return self._things.get(name, {}).get(version)

    def put(self, name: str, version: int, thing: T) -> None:
        """Put one version in, in place of what was there."""
        self._things.setdefault(name, {})[version] = thing

    def remove(self, name: str, version: int) -> None:
        """Take one version out, and out of the split; a shadow is one no more."""
        versions = self._versions(name)
        self.get(name, version)
        del versions[version]
        if not versions:
            del self._things[name]
        split = self._splits.pop(name, None)
        if split is not None:
            left = {v: w for v, w in split.weights.items() if v != version}
            shadow = split.shadow
            if sum(left.values()) > 0:
                stays = shadow is not None and shadow.version != version
                self._splits[name] = Traffic(left, shadow if stays else None)

    def versions(self, name: str) -> list[int]:
        """List the versions of a name; raises the error of an unknown name."""
        return sorted(self._versions(name))

    def get(self, name: str, version: int | None = None) -> T:
        """Give one version, or without one the highest; raises the error of an unknown name."""
        versions = self._versions(name)
        chosen = max(versions) if version is None else version
        if chosen not in versions:
            known = ", ".join(str(v) for v in sorted(versions))
            message = f"{self._noun} {name!r} has no version {version}. It has: {known}."
            raise self._unknown(message)
        return versions[chosen]

    def pick(self, name: str, version: int | None = None) -> T:
        """Give the version that the next request goes to, which the split decides."""
        if version is not None:
            return self.get(name, version)
        versions = self._versions(name)
        if name in self._splits:
            chosen = versions[self._splits[name].pick()]
            if self._serves(chosen):
                return chosen
        if len(versions) == 1:
            (only,) = versions.values()
            return only
        return versions[self._highest(versions)]

    def pick_pair(self, name: str, version: int) -> Pair | None:
        """Tell who gets a copy of the next request, which `version` answers, if anybody does."""
        split = self._splits.get(name)
        shadow = None if split is None else split.pick_shadow(version)
        return None if shadow is None else Pair(name=name, served=version, shadow=shadow)

    def set_split(
        self, name: str, weights: Mapping[int, float], shadow: Shadow | None = None
    ) -> None:
        """Split traffic, from now on with this shadow, or none.

        Raises the error of an unknown version, and InvalidInput for weights that split nothing and
        a shadow that is none.
        """
        known = self._versions(name)
        for version in (*weights, *([shadow.version] if shadow else [])):
            if version not in known:
                self.get(name, version)
        try:
            self._splits[name] = Traffic(weights, shadow)
        except ValueError as error:
            raise InvalidInput(f"{self._noun} {name!r}: {error}") from None

    def shadow(self, name: str, *, beside: Mapping[int, float] | None = None) -> Shadow | None:
        """Give the shadow of a name, if it has one; none that has weight of its own `beside`."""
        split = self._splits.get(name)
        shadow = None if split is None else split.shadow
        return None if shadow is None or (beside or {}).get(shadow.version) else shadow

    def copies(self, name: str, version: int) -> float:
        """Tell of how many requests that others answer a version gets copies, in percent."""
        shadow = self.shadow(name)
        return 0.0 if shadow is None or shadow.version != version else shadow.percent

    def weight(self, name: str, version: int) -> float:
        """Tell which share of the traffic a version gets, 0 to 1."""
        split = self._splits.get(name)
        if split is None:
            return 1.0 if version == self._highest(self._versions(name)) else 0.0
        return split.weights.get(version, 0.0) / sum(split.weights.values())

    def _highest(self, versions: Mapping[int, T]) -> int:
        serving = [version for version, thing in versions.items() if self._serves(thing)]
        return max(serving or versions)

    def _versions(self, name: str) -> dict[int, T]:
        if name not in self._things:
            message = f"There is no {self._noun.lower()} {name!r}.{nearest(name, self._things)}"
            raise self._unknown(message)
        return self._things[name]
