"""Terms: on which a request for text is taken. Knows no route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torchloom.timings import Meter


def same(name: str) -> str:
    """Take a name as it is."""
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What another route than this API's own may have otherwise.

    `to_label` gives the label of the model that a request names, or raises UnknownModel. Answers
    say the client's own name all the same. `timeout_s` bounds the request, besides what it says
    itself; `meter` takes what it waits and runs.
    """

    to_label: Callable[[str], str] = same
    timeout_s: float | None = None
    meter: Meter | None = None


#: Those of this API's own routes.
OWN_TERMS: Final = Terms()
