"""Opening an archive: unpack it, read what it says, import its handler, and make an engine of it.

Runs in a worker process: the archive's folder becomes the process's own, and goes before all else
where modules are looked for.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import DeviceUnavailable, InvalidModel, ModelLoadError
from torchloom_models.archive import alias, console
from torchloom_models.archive.context import Context
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.entry import find_entry
from torchloom_models.archive.envelope import wrap
from torchloom_models.archive.field import BATCH_SIZE
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.unpacked import Unpacked, UnpackedStore
from torchloom_models.archive.unpacking import is_archive
from torchloom_models.source import resolve_source


#: The version of TorchServe whose contract with handlers is kept.
_SERVER_VERSION: Final = "0.12.0"

#: The most rows of a batch.
_MAX_BATCH: Final = 4096


def open_handler(config: Mapping[str, object], device: Device, report: Report) -> HandlerEngine:
    """Open an archive. Raises ModelLoadError, InvalidModel or DeviceUnavailable."""
    source = resolve_source(str(config["source"]), report)
    if not source.is_dir() and not is_archive(source):
        message = (
            f"{str(source)!r} is no archive: it is neither a zip (.mar) nor a .tar.gz, and was "
            "perhaps cut short. Copy it again, or make it again with `torchloom archive`."
        )
        raise InvalidModel(message)
    report("unpacking the archive", None)
    root = config.get("archives")
    unpacked = UnpackedStore(
        Path(str(root)) if root else Path(tempfile.gettempdir()) / "torchloom-archives"
    ).open(source)
    try:
        return _open(config, device, report, source, unpacked)
    except BaseException:
        unpacked.close()
        raise


def _open(
    config: Mapping[str, object],
    device: Device,
    report: Report,
    source: Path,
    unpacked: Unpacked,
) -> HandlerEngine:
    handler = cast("str | None", config.get("handler"))
    files = ArchiveFiles.read(unpacked.path.resolve(), source, handler=handler)
    place = _place_of(device, files.config)
    batch_size = _batch_size(config, files.config)
    context = Context(
        str(config.get("model_name", config.get("name", files.manifest.name))),
        str(files.folder),
        files.manifest.document,
        batch_size,
        int(place.partition(":")[2]) if place != "cpu" else None,
        _SERVER_VERSION,
        bool(config.get("limit_image_pixels", True)),
        None,
        files.config,
    )
    _enter(files.folder)
    report("loading the handler", None)
    entry = find_entry(files.folder, handler or files.manifest.handler, context)
    envelope = config.get("envelope", files.manifest.envelope)
    if envelope:
        entry = wrap(entry, str(envelope))
    return HandlerEngine(entry, context, max_tasks=batch_size, device=place, close=unpacked.close)


def _enter(folder: Path) -> None:
    """Make this process the archive's: its output, its folder, and its modules before others."""
    console.take_over()
    alias.install()
    sys.path.insert(0, str(folder))
    os.chdir(folder)


def _place_of(device: Device, config: Mapping[str, object]) -> str:
    """Give torch's name for the device; `auto` is what the archive asks for, or CUDA if there."""
    from torchloom_models.hardware import place_of  # noqa: PLC0415 - costs seconds: torch

    if device.kind == "openvino":
        message = (
            f"Handlers run on the CPU or on CUDA, not on {str(device)!r}: write `devices: [cpu]`."
        )
        raise DeviceUnavailable(message)
    if device.kind == "auto" and config.get("deviceType") == "cpu":
        return "cpu"
    return place_of(device)


def _batch_size(config: Mapping[str, object], archive: Mapping[str, object]) -> int:
    """Give the most rows of a call: the model file decides, then the archive."""
    stated = config.get("max_size", archive.get("batchSize", BATCH_SIZE))
    try:
        size = int(cast("int | str", stated))
    except (TypeError, ValueError):
        size = 0
    if not 1 <= size <= _MAX_BATCH:
        raise ModelLoadError(f"`batchSize` is a number from 1 to {_MAX_BATCH}, not {stated!r}.")
    return size
