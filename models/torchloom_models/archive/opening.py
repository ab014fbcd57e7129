"""Opening an archive: unpack it, read what it says, import its handler, and make an engine of it.

Runs in a worker process: the archive's folder becomes the process's own, and goes before all else
where modules are looked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import DeviceUnavailable, InvalidModel
from torchloom_models.archive import alias, console
from torchloom_models.archive.batching import AnyEngine, Batching
from torchloom_models.archive.context import Context
from torchloom_models.archive.entry import Entry, find_entry
from torchloom_models.archive.envelope import wrap
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.prediction_time import timed
from torchloom_models.archive.preparation import store_of
from torchloom_models.archive.requirements import packages_of
from torchloom_models.archive.sequence_headers import SequenceHeaders
from torchloom_models.archive.unpacked import Unpacked
from torchloom_models.archive.unpacking import is_archive
from torchloom_models.source import resolve_source


#: The version of TorchServe whose contract with handlers is kept.
_SERVER_VERSION: Final = "0.12.0"


#: Puts something around what is called for each batch.
Adapt = Callable[[Entry], Entry]


def open_handler(
    config: Mapping[str, object],
    device: Device,
    report: Report,
    *,
    adapt: Adapt = lambda entry: entry,
) -> AnyEngine:
    """Open an archive. Raises ModelLoadError, InvalidModel or DeviceUnavailable."""
    source = resolve_source(str(config["source"]), report)
    if not source.is_dir() and not is_archive(source):
        message = (
            f"{str(source)!r} is no archive: it is neither a zip (.mar) nor a .tar.gz, and was "
            "perhaps cut short. Copy it again, or make it again with `torchloom archive`."
        )
        raise InvalidModel(message)
    report("unpacking the archive", None)
    unpacked = store_of(config, source).open(source)
    try:
        return _open(config, device, report, source, unpacked, adapt)
    except BaseException:
        unpacked.close()
        raise


def _open(
    config: Mapping[str, object],
    device: Device,
    report: Report,
    source: Path,
    unpacked: Unpacked,
    adapt: Adapt,
) -> AnyEngine:
    handler = cast("str | None", config.get("handler"))
    files = ArchiveFiles.read(unpacked.path.resolve(), source, handler=handler)
    place = _place_of(device, files.config)
    headers = SequenceHeaders.read(config)
    batching = Batching.read(files.config, stated=config.get("max_size"), headers=headers)
    name = str(config.get("model_name", config.get("name", files.manifest.name)))
    declared = cast("Sequence[Mapping[str, object]]", config.get("metrics", ()))
    context = Context(
        name,
        str(files.folder),
        files.manifest.document,
        batching.size,
        int(place.partition(":")[2]) if place != "cpu" else None,
        _SERVER_VERSION,
        bool(config.get("limit_image_pixels", True)),
        MetricsCache(name, declared=declared),
        files.config,
    )
    context.name_sequence_headers(headers)
    _enter(files.folder, unpacked.packages.resolve())
    report("loading the handler", None)
    entry = find_entry(files.folder, handler or files.manifest.handler, context)
    envelope = config.get("envelope", files.manifest.envelope)
    if envelope:
        entry = wrap(entry, str(envelope))
    if config.get("prediction_time"):
        entry = timed(entry)
    return batching.make_engine(adapt(entry), context, device=place, close=unpacked.close)


def _enter(folder: Path, packages: Path) -> None:
    """Make this process the archive's: its output, its folder, and its modules before others."""
    console.take_over()
    alias.install()
    places = dict.fromkeys((folder, packages, packages_of(folder), packages_of(packages)))
    sys.path[:0] = [str(each) for each in places if each.is_dir()]
    os.chdir(folder)


def _place_of(device: Device, config: Mapping[str, object]) -> str:
    """Give torch's name for the device; `auto` is what the archive asks for, or CUDA if there."""
    if device.kind == "openvino":
        message = (
            f"Handlers run on the CPU or on CUDA, not on {str(device)!r}: write `devices: [cpu]`."
        )
        raise DeviceUnavailable(message)
    if device.kind == "cpu" or (device.kind == "auto" and config.get("deviceType") == "cpu"):
        return "cpu"
    from torchloom_models.hardware import place_of  # noqa: PLC0415 - costs seconds: torch

    return place_of(device)
