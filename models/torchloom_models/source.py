"""Source: where a model's files come from; a word in a model file becomes a folder or a file.

A path, `hf://org/name@revision`, or `package://import_name/folder`. Knows no kind and reads no
weights; `weights.py` looks at those.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError


_HUB = re.compile(
    r"hf://(?P<repository>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?"
)
_PACKAGE = re.compile(r"package://(?P<package>[A-Za-z_]\w*)(/(?P<path>[^\s]+))?")


def find_fault(source: str) -> str | None:
    """Say what is wrong with the words of a source, or None. Looks at no file and no network."""
    scheme, separator, _ = source.partition("://")
    match scheme if separator else "":
        case "":
            return None
        case "hf":
            return _find_hub_fault(source)
        case "package":
            example = f"{source!r} is no package source. Write package://import_name/folder."
            return None if _PACKAGE.fullmatch(source) else example
        case _:
            known = "a path, hf://… or package://…"
            return f"There is no source of the sort {scheme!r}. Write {known}."


def _find_hub_fault(source: str) -> str | None:
    match = _HUB.fullmatch(source)
    if match is None:
        return f"{source!r} is no hub source. Write hf://organisation/name@revision."
    if match["revision"] is None:
        return (
            f"{source!r} names no revision, so that it would change under you. "
            f"Write {source}@<commit, tag or branch>, best a commit."
        )
    return None


def resolve_source(source: str, report: Report) -> Path:
    """Give the folder or file of a source, downloading what the hub's cache does not hold.

    Honours HF_HOME, HF_TOKEN and HF_HUB_OFFLINE. Raises InvalidModel for words that are no source,
    ModelLoadError where there is nothing.
    """
    fault = find_fault(source)
    if fault is not None:
        raise InvalidModel(fault)
    if source.startswith("hf://"):
        from torchloom_models.hub import download  # noqa: PLC0415 - slow, and few sources need it

        match = _HUB.fullmatch(source)
        assert match is not None, "find_fault has seen to it"
        return download(match["repository"], match["revision"], report)
    path = find_local(source)
    assert path is not None, "what is left is on this machine"
    if not path.exists():
        message = f"The source {source!r} does not exist. Paths are relative to the model file."
        raise ModelLoadError(message)
    return path


def find_local(source: str) -> Path | None:
    """Give the place of a source that is on this machine by its words, or None for the hub's.

    Raises InvalidModel and ModelLoadError for a package that does not hold it.
    """
    if source.startswith("hf://"):
        return None
    return _find_in_package(source) if source.startswith("package://") else Path(source)


def _find_in_package(source: str) -> Path:
    match = _PACKAGE.fullmatch(source)
    assert match is not None, "find_fault has seen to it"
    spec = importlib.util.find_spec(match["package"])
    if spec is None or not spec.submodule_search_locations:
        message = (
            f"The source {source!r} names the package {match['package']!r}, which is not "
            "installed here. Install it, or name another source."
        )
        raise ModelLoadError(message)
    roots = [Path(place).resolve() for place in spec.submodule_search_locations]
    paths = [(root / (match["path"] or "")).resolve() for root in roots]
    if not all(path.is_relative_to(root) for path, root in zip(paths, roots, strict=True)):
        raise InvalidModel(f"The source {source!r} leads out of its package.")
    return next((path for path in paths if path.exists()), paths[0])
