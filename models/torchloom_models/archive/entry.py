"""Entry: what of an archive's code is called for each batch, found as TorchServe finds it.

A function (`file:function`, or the module's `handle`), which is called once with no data as it is
loaded; or else the one class of the module, whose `initialize` is called.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final, Protocol, TypeVar, cast

from torchloom import garbage
from torchloom.errors import InvalidModel, ModelLoadError, OutOfMemory, TorchLoomError
from torchloom_models.archive.context import Context
from torchloom_models.archive.failure import is_out_of_memory, name_error
from torchloom_models.archive.llm.language_model import to_language_handler
from torchloom_models.archive.missing_engine import say_missing_engine
from torchloom_models.archive.own_classes import own_classes
from torchloom_models.archive.source_file import SourceFile


_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Service(Protocol):
    """What the one class of a handler's module makes."""

    def initialize(self, context: Context) -> object: ...

    def handle(self, data: object, context: Context) -> object: ...


#: Called with a batch and the context; gives one item a row.
Entry = Callable[[object, Context], object]

#: Where the handlers are that TorchServe brings along.
_BUILT_IN: Final = "ts.torch_handler"

#: What to do about errors whose own words do not say it, by a part of those words.
_HINTS: Final[Mapping[str, str]] = {
    "torchvision::nms": "(torchvision was built for another torch: install the one that belongs "
    "to this torch, from the same index)",
    "No module named 'torchvision'": "(the archive's own code imports it: install the torchvision "
    "that belongs to this torch)",
}


def find_entry(folder: Path, handler: str, context: Context) -> Entry:
    """Import a handler and initialise it. Raises InvalidModel and ModelLoadError.

    The folders of `handler` count for nothing: its file lies at the top of the archive.
    """
    file, _, function = handler.partition(":")
    name = PurePosixPath(file).name.removesuffix(".py")
    with garbage.importing():
        module = _import(folder, name, handler)
    entry = getattr(module, function or "handle", None)
    if function and not callable(entry):
        message = f"The handler {handler!r}: there is no function {function!r} in {name!r}."
        raise InvalidModel(message)
    if callable(entry):
        guard_loading(handler, lambda: entry(None, context))
        return cast("Entry", entry)
    return _open_class(module, handler, context)


def _import(folder: Path, name: str, handler: str) -> ModuleType:
    files = (folder / f"{name}.py", folder / name / "__init__.py")
    file = next((each for each in files if each.is_file()), None)
    if file is not None:
        return guard_loading(handler, lambda: _import_file(name, file))
    if to_language_handler(name) is not None:
        message = (
            f"An archive whose handler is {name!r} is a model of kind 'llm', and not of kind "
            "'handler'. `torchloom migrate` writes its model file; `torchloom torchserve` serves "
            "it as it is."
        )
        raise InvalidModel(message)
    built_in = f"{_BUILT_IN}.{name}"
    try:
        is_there = importlib.util.find_spec(built_in) is not None
    except (ImportError, ValueError):
        is_there = False
    if not is_there:
        message = (
            f"The handler {handler!r} is not there: the archive has no file {name + '.py'!r}, and "
            "there is no built-in handler of that name."
        )
        raise InvalidModel(message)
    return guard_loading(handler, lambda: importlib.import_module(built_in))


def _import_file(name: str, file: Path) -> ModuleType:
    """Import a file, whatever else has its name: `code.py` is a handler here, and no library."""
    known = sys.modules.get(name)
    module_name = name if known is None else f"archive_{name}"
    loader = SourceFile(module_name, str(file))
    spec = importlib.util.spec_from_file_location(module_name, file, loader=loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _open_class(module: ModuleType, handler: str, context: Context) -> Entry:
    classes = own_classes(module)
    if len(classes) != 1:
        found = ", ".join(each.__name__ for each in classes) or "none"
        message = (
            "Expected only one class in custom service code or a function entry point: the "
            f"handler {handler!r} has the classes: {found}. Name a function, as in "
            f"{module.__name__}.py:handle, or move classes to files of their own."
        )
        raise InvalidModel(message)
    found_class = cast("Callable[[], _Service]", classes[0])
    for method in ("handle", "initialize"):
        if not callable(getattr(found_class, method, None)):
            message = f"The class {classes[0].__name__!r} of the handler has no {method!r}."
            raise InvalidModel(message)

    def make() -> Entry:
        service = found_class()
        service.initialize(context)
        return service.handle

    return guard_loading(handler, make)


def guard_loading(handler: str, load: Callable[[], T]) -> T:
    """Run an archive's code as it loads. Raises ModelLoadError for whatever that raises."""
    try:
        return load()
    except TorchLoomError:
        raise
    except (Exception, SystemExit) as error:
        _log.exception("The handler %r did not load.", handler)
        missing = say_missing_engine(error)
        if missing is not None:
            raise InvalidModel(f"The handler {handler!r} does not load: {missing}") from error
        hint = next((f" {_HINTS[each]}" for each in _HINTS if each in str(error)), "")
        message = f"The handler {handler!r} raised as it was loaded: {name_error(error)}{hint}"
        failure = ModelLoadError(message)
        if is_out_of_memory(error):
            failure.status = OutOfMemory.status  # type: ignore[misc]  # this one is not ours
        raise failure from error
