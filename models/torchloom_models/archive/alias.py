"""Alias: our package `…archive.ts` under the name by which handlers import it, `ts`.

One module object has both names, so that a class is the same under either. Where TorchServe itself
is installed, its package keeps the name; its way to send intermediate answers, which needs its own
server, becomes ours.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from torchloom_models.archive.intermediate import send_intermediate_predict_response


_NAME: Final = "ts"
_OURS: Final = "torchloom_models.archive.ts"

#: Where TorchServe has what sends intermediate answers.
_SENDING: Final = ("ts.handler_utils.utils", "ts.protocol.otf_message_handler")


def install() -> bool:
    """Let `import ts` find ours; False where TorchServe itself is installed. Idempotent."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return True
    if _has_torchserve():
        _lend_sending()
        return False
    sys.modules.pop(_NAME, None)
    sys.meta_path.insert(0, _Finder())
    importlib.import_module(_NAME)
    return True


def _has_torchserve() -> bool:
    """Tell TorchServe's package from others of its short name."""
    found = importlib.util.find_spec(_NAME)
    places = (found and found.submodule_search_locations) or ()
    return any((Path(place) / "torch_handler").is_dir() for place in places)


def _lend_sending() -> None:
    for name in _SENDING:
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            vars(module)["send_intermediate_predict_response"] = send_intermediate_predict_response


class _Finder(MetaPathFinder):
    """Finds `ts` and all below it. Comes first: the path finder would load a second copy."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's face
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        top, dot, rest = fullname.partition(".")
        if top != _NAME:
            return None
        ours = f"{_OURS}{dot}{rest}"
        try:
            found = importlib.util.find_spec(ours)
        except ModuleNotFoundError:
            return None
        return None if found is None else ModuleSpec(fullname, _Loader(ours))


class _Loader(Loader):
    """Gives the module that is loaded under our name."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the protocol's face
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put the alias's in its place
