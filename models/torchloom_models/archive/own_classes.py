"""The classes that a module defines itself. Imports no framework."""

from __future__ import annotations

import inspect
from types import ModuleType


def own_classes(module: ModuleType) -> list[type]:
    """Give them by name, without those that it imports."""
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__
    ]
