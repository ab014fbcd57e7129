"""`ts.handler_utils.utils`."""

from __future__ import annotations

import importlib

from torchloom_models.archive.intermediate import send_intermediate_predict_response


__all__ = ["import_class", "send_intermediate_predict_response"]


def import_class(class_name: str, module_prefix: str | None = None) -> object:
    """Give a class by its dotted name, below `module_prefix` where that is said.

    Raises ImportError where there is no name, no module or no such class.
    """
    folder, _, name = (class_name or "").rpartition(".")
    module_name = ".".join(filter(None, (module_prefix, folder)))
    if not (name and module_name):
        message = f"{class_name!r} names no class in a module."
        raise ImportError(message)
    found: object = getattr(importlib.import_module(module_name), name, None)
    if found is None:
        message = f"The module {module_name!r} has no class {name!r}."
        raise ImportError(message)
    return found
