"""AbsentModels: what is to serve from the start and does not yet, and why not. Loads nothing.

An order names one exactly: two versions of a name are two orders. Which model it is may be known
only once its archive has been read; one that is there is told by the catalog, not by parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.registration import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why a model does not serve. `model`: its name and version, as far as they are known."""

    status: int
    model: tuple[str, str] | None = None


class AbsentModels:
    """Order → Absence, for as long as nothing serves that is what was ordered."""

    def __init__(self) -> None:
        self._absences: dict[Order, Absence] = {}

    def __len__(self) -> int:
        """Count them."""
        return len(self._absences)

    def __iter__(self) -> Iterator[tuple[Order, Absence]]:
        """List them, as they are now."""
        return iter(list(self._absences.items()))

    def find(self, order: Order) -> Absence | None:
        """Tell why an order does not serve; None where it does."""
        return self._absences.get(order)

    def put(self, order: Order, status: int, model: tuple[str, str] | None = None) -> None:
        """Take in what has failed. `model`: its name and version, if its archive was read."""
        if model is None and order.name is not None and order.version is not None:
            model = order.name, order.version
        self._absences[order] = Absence(status=status, model=model)

    def drop(self, order: Order) -> None:
        """Forget one: it is there, whatever it is called."""
        self._absences.pop(order, None)

    def settle(self, served: Served) -> None:
        """Forget what a model is that serves now, whoever has registered it."""
        for order, absence in self:
            if absence.model == (served.name, served.version) or _is_again(order, served):
                self.drop(order)


def _is_again(order: Order, served: Served) -> bool:
    """Tell whether somebody has registered the file of an order, whatever is in it by now."""
    if served.is_at_startup or served.workflow is not None:
        return False  # that file may be of several orders
    files = {served.url, None if served.fetched is None else served.fetched.name}
    return order.url in files and order.name in (None, served.name)
