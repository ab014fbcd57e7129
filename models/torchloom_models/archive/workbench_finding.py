"""Finding a Workbench by what somebody names to work on: a file, a folder, a built-in handler.

Imports nothing of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from torchloom_models.archive.archiver import find_handler
from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.llm.language_model import to_language_handler
from torchloom_models.archive.manifest import PLACE
from torchloom_models.archive.member import to_member
from torchloom_models.archive.packing import check_name
from torchloom_models.archive.workbench import NamedFiles, Workbench, find_manifest


_PACKED: Final = (".mar", ".war", ".tar.gz", ".tgz", ".zip")

_NO_NAME: Final = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.-]")


def find_workbench(
    target: str,
    named: NamedFiles,
    *,
    name: str | None = None,
    handler: str | None = None,
    envelope: str | None = None,
) -> Workbench:
    """Find what `target` names: `FILE.py`, `FILE.py:function`, a built-in handler, or a folder.

    A folder's handler is `handler`, or its manifest's, or the only file that can be meant. The name
    is the manifest's unless there is one. Raises ArchiverError, MissingFile and InvalidModel.
    """
    if target.endswith(_PACKED) and Path(target).is_file():
        raise ArchiverError(
            f"{target} is packed: a change in it could not be seen. Unpack it into a folder, and "
            "name that."
        )
    if Path(target).is_dir():
        folder: Path | None = Path(target)
        found = handler or _handler_in(Path(target))
        called = Path(target).resolve().name
    else:
        found, file = find_handler(target, "python")
        folder = None if file is None else to_member(Path(file)).source.parent
        called = found.partition(":")[0].removesuffix(".py")
    manifest = find_manifest(folder)
    _refuse_language_model(folder, found or (manifest.handler if manifest is not None else ""))
    given = name or (
        manifest.name if manifest is not None else _NO_NAME.sub("_", called).strip("_")
    )
    check_name(given, "model")
    return Workbench(name=given, folder=folder, handler=found, envelope=envelope, named=named)


def _refuse_language_model(folder: Path | None, handler: str) -> None:
    """Raise ArchiverError for an archive that has no code to write."""
    name = to_language_handler(handler)
    if name is None or (folder is not None and (folder / f"{name}.py").is_file()):
        return
    raise ArchiverError(
        f"An archive of {name} is a language model, which TorchLoom's own engine serves: there is "
        "no code of it to write. Serve it by `torchloom llm-launcher`, or `torchloom torchserve`."
    )


def _handler_in(folder: Path) -> str | None:
    """Name the handler of a folder; None where its manifest does. Raises ArchiverError."""
    if (folder / PLACE).is_file():
        return None
    files = sorted(each.name for each in folder.glob("*.py"))
    likely = [each for each in files if each.endswith("handler.py")]
    for few in (["handler.py"] if "handler.py" in files else [], likely, files):
        if len(few) == 1:
            return few[0]
    if not files:
        raise ArchiverError(
            f"{folder} has neither {PLACE} nor a Python file. Say with --handler which handler "
            "it is for, such as --handler image_classifier."
        )
    raise ArchiverError(
        f"{folder} has no {PLACE}, and several Python files: {', '.join(files)}. Name the handler: "
        f"{folder / files[0]}."
    )
