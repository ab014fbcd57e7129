"""Settings: what an engine is told while it serves, and each of its workers anew that starts later.

A setting is a JSON value under a key; which keys there are is the engine's. Knows no worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


#: Values by key, in the order in which they were first given; None takes a setting back, also one
#: that the engine opens with.
Settings = Mapping[str, object]


@runtime_checkable
class Settable(Protocol):
    """An Engine that can be told something while it serves."""

    def apply_setting(self, key: str, value: object) -> None:
        """Take a setting; None takes it back. Called between steps, by the thread that steps.

        Whoever asks waits: what takes long is done beforehand. The same again changes nothing.
        Raises InvalidInput or InvalidModel, and then nothing has changed.
        """
        ...
