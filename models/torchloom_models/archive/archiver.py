"""ModelArchiver: a model's files to an archive that TorchServe and TorchLoom read.

Takes what torch-model-archiver 0.12 takes. Loads no model, and imports no framework.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, Literal, get_args

from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.member import Member, by_name, find_extra, to_member
from torchloom_models.archive.packing import (
    Writer,
    check_name,
    to_manifest,
    to_target,
    write_folder,
    write_stored,
    write_tgz,
    write_zip,
)


_log = logging.getLogger(__name__)

ArchiveFormat = Literal["default", "tgz", "no-archive", "zip-store"]
Runtime = Literal["python", "python3", "LSP"]

#: Handlers that the server brings, so that no file of theirs goes into the archive.
BUILT_IN_HANDLERS: Final = frozenset(
    {
        "base_handler",
        "text_classifier",
        "image_classifier",
        "object_detector",
        "image_segmenter",
        "dali_image_classifier",
        "vllm_handler",
        "trt_llm_handler",
    }
)

#: Handlers that the C++ server brings.
_BUILT_IN_LIBRARIES: Final = frozenset({"TorchScriptHandler"})

_MANIFEST: Final = PurePosixPath("MAR-INF/MANIFEST.json")

_FORMATS: Mapping[str, tuple[str, Writer]] = MappingProxyType(
    {
        "default": (".mar", write_zip),
        "zip-store": (".mar", write_stored),
        "tgz": (".tar.gz", write_tgz),
        "no-archive": ("", write_folder),
    }
)

#: The name of torch-model-archiver's own error, for `except` clauses that are there.
ModelArchiverError = ArchiverError


@dataclass
class ModelArchiverConfig:
    """What goes into an archive; the same fields, in the same order, as torch-model-archiver's."""

    model_name: str
    handler: str
    version: str
    serialized_file: str | None = None
    model_file: str | None = None
    extra_files: str | None = None
    runtime: Runtime = "python"
    export_path: str = field(default_factory=os.getcwd)
    archive_format: ArchiveFormat = "default"
    force: bool = False
    requirements_file: str | None = None
    config_file: str | None = None


class ModelArchiver:
    """Writes archives. Has no state: the class is there because users call it by this name."""

    @staticmethod
    def generate_model_archive(config: ModelArchiverConfig) -> None:
        """Write the archive that `config` describes, whole or not at all.

        Raises ModelArchiverError; MissingFile, which is a FileNotFoundError too, where a file is
        not there.
        """
        write_model_archive(config)


def write_model_archive(config: ModelArchiverConfig) -> Path:
    """Write an archive as `generate_model_archive` does, and tell where it is."""
    _check_choice("archive-format", config.archive_format, get_args(ArchiveFormat))
    _check_choice("runtime", config.runtime, get_args(Runtime))
    check_name(config.model_name, "model")
    suffix, write = _FORMATS[config.archive_format]
    handler, handler_file = find_handler(config.handler, config.runtime)
    named = (
        config.serialized_file,
        config.model_file,
        config.requirements_file,
        config.config_file,
    )
    members = [to_member(Path(file)) for file in (*named, handler_file) if file]
    members += find_extra(config.extra_files)
    target = to_target(
        config.export_path, config.model_name + suffix, what="model", force=config.force
    )
    write(target, _without_manifest(by_name(members)), _MANIFEST, _to_manifest(config, handler))
    return target


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        choices = ", ".join(known)
        raise ArchiverError(f"{name} cannot be {value!r}. Choose one of: {choices}.")


def find_handler(handler: str, runtime: str) -> tuple[str, str | None]:
    """Give what the manifest calls the handler, and its file, if it is none of the server's own.

    Written as `file.py`, `file`, `file:function` or `file.py:function`; a C++ handler is
    `library:Class`. Raises ArchiverError where nothing is written.
    """
    if not handler:
        raise ArchiverError("The handler is empty. Name a built-in one, or a file.")
    is_library = runtime == "LSP"
    if handler in (_BUILT_IN_LIBRARIES if is_library else BUILT_IN_HANDLERS):
        return handler, None
    folder, slash, last = handler.rpartition("/")
    stem, colon, function = last.partition(":")
    suffix = ".so" if is_library else ".py"
    stem, written = stem.removesuffix(suffix), suffix if stem.endswith(suffix) else ""
    # With a function the suffix goes: `file.py:function` is what no server finds.
    name = f"{stem}:{function}" if colon else stem + written
    return name, f"{folder}{slash}{stem}{suffix}"


def _without_manifest(members: list[Member]) -> list[Member]:
    """Drop a manifest that came with a folder: an unpacked archive, packed once more."""
    kept = [member for member in members if member.name != _MANIFEST]
    if len(kept) < len(members):
        _log.warning("%s of --extra-files is left out: a new one is written", _MANIFEST)
    return kept


def _to_manifest(config: ModelArchiverConfig, handler: str) -> str:
    model = {
        "modelName": config.model_name,
        "serializedFile": _last(config.serialized_file),
        "handler": handler,
        "modelFile": _last(config.model_file),
        "modelVersion": config.version,
        "requirementsFile": _last(config.requirements_file),
        "configFile": _last(config.config_file),
    }
    said = {key: value for key, value in model.items() if value}
    return to_manifest(runtime=config.runtime, model=said)


def _last(file: str | None) -> str | None:
    return Path(file).name if file else None
