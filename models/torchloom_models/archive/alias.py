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
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, MappingProxyType, ModuleType
from typing import Final, Never

from torchloom_models.archive.intermediate import send_intermediate_predict_response


_NAME: Final = "ts"
_OURS: Final = "torchloom_models.archive.ts"

#: Where TorchServe has what sends intermediate answers.
_SENDING: Final = ("ts.handler_utils.utils", "ts.protocol.otf_message_handler")

_DALI: Final = "decode pictures in the handler, or install TorchServe and NVIDIA DALI"
_WORKER: Final = "TorchLoom's workers take its place, and nothing speaks its protocol here"
_START: Final = "start a server by `torchloom torchserve`"

#: TorchServe's modules that are not here, below `ts` → what there is in their stead.
_ABSENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "arg_parser": _START,
        "async_service": _WORKER,
        "handler_utils.preprocess": _DALI,
        "llm_launcher": "it is `torchloom llm-launcher`",
        "model_server": _START,
        "model_service_worker": _WORKER,
        "torch_handler.dali_handler": _DALI,
        "torch_handler.dali_image_classifier": _DALI,
        "utils.setup_model_venv": "`install_py_dep_per_model` makes environments",
    }
)


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
        if found is not None:
            return ModuleSpec(fullname, _Loader(ours), origin=found.origin)
        if rest in _ABSENT:
            return ModuleSpec(fullname, _Absent(_ABSENT[rest]))
        return None


class _Absent(Loader):
    """Says what there is in place of a module, when it is imported, and not when looked for."""

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def create_module(self, spec: ModuleSpec) -> Never:
        self.get_code(spec.name)

    def get_code(self, fullname: str) -> Never:
        """Say it to `python -m`, too."""
        message = f"No module named {fullname!r}. TorchLoom has none: {self._instead}."
        raise ModuleNotFoundError(message, name=fullname)

    def exec_module(self, module: ModuleType) -> Never:
        self.get_code(module.__name__)


class _Loader(Loader):
    """Gives the module that is loaded under our name."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - the protocol's face
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - the protocol's face
        """Give what `python -m` runs."""
        found = importlib.util.find_spec(self._ours)
        loader = None if found is None else found.loader
        return loader.get_code(self._ours) if isinstance(loader, InspectLoader) else None

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put the alias's in its place
