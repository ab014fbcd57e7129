"""ArchiveFiles: an archive's files, unpacked, and what its manifest and its YAML say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import yaml

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.manifest import MAX_BYTES, PLACE, Manifest


#: The name of the configuration in archives whose manifest names none.
_CONFIG: Final = "model-config.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFiles:
    """What a handler finds: the folder, the manifest, and `model-config.yaml` as plain values."""

    folder: Path
    manifest: Manifest
    config: Mapping[str, object]

    @classmethod
    def read(cls, folder: Path, source: Path, *, handler: str | None) -> Self:
        """Read manifest and configuration. Raises InvalidModel and ModelLoadError."""
        place = folder / PLACE
        if place.is_file():
            manifest = Manifest.parse(_read(place), source=str(source))
        else:
            manifest = Manifest.without_file(source, handler=handler)
        return cls(folder=folder, manifest=manifest, config=_read_config(folder, manifest, source))


def _read_config(folder: Path, manifest: Manifest, source: Path) -> Mapping[str, object]:
    file = folder / (manifest.config_file or _CONFIG)
    if not file.is_file():
        if manifest.config_file is None:
            return {}
        message = (
            f"The manifest of {str(source)!r} names the configuration {manifest.config_file!r}, "
            "which is not in the archive."
        )
        raise InvalidModel(message)
    try:
        config = yaml.safe_load(_read(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        message = f"{file.name!r} of {str(source)!r} is no YAML: {error}"
        raise InvalidModel(message) from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise InvalidModel(f"{file.name!r} of {str(source)!r} is no mapping of keys to values.")
    return config


def _read(file: Path) -> bytes:
    size = file.stat().st_size
    if size > MAX_BYTES:
        message = f"{file.name!r} has {size} bytes, and {MAX_BYTES} are the most."
        raise ModelLoadError(message)
    return file.read_bytes()
