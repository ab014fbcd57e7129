"""ArchiveFiles: what an archive's manifest and its YAML say, whether it is unpacked or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import yaml

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.manifest import MAX_BYTES, PLACE, Manifest
from torchloom_models.archive.unpacking import read_entries


#: The name of the configuration in archives whose manifest names none.
_CONFIG: Final = "model-config.yaml"

#: Gives the bytes of a file of an archive, or None where it has no such file.
Find = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFiles:
    """What a handler finds: the folder, the manifest, and `model-config.yaml` as plain values."""

    folder: Path
    manifest: Manifest
    config: Mapping[str, object]

    @classmethod
    def read(cls, folder: Path, source: Path, *, handler: str | None) -> Self:
        """Read manifest and configuration of an unpacked archive.

        Raises InvalidModel and ModelLoadError.
        """
        return cls._parse(lambda name: _read(folder / name), folder, source, handler)

    @classmethod
    def glance(cls, source: Path, *, handler: str | None = None) -> Self:
        """Read manifest and configuration of an archive that stays packed, or of a folder.

        Raises InvalidModel and ModelLoadError.
        """
        if source.is_dir():
            return cls.read(source, source, handler=handler)
        small = read_entries(source, lambda name: name.endswith((PLACE.name, ".yaml", ".yml")))
        return cls._parse(small.get, source, source, handler)

    @classmethod
    def _parse(cls, find: Find, folder: Path, source: Path, handler: str | None) -> Self:
        text = find(str(PLACE))
        if text is not None:
            manifest = Manifest.parse(text, source=str(source))
        else:
            manifest = Manifest.without_file(source, handler=handler)
        return cls(folder=folder, manifest=manifest, config=_parse_config(find, manifest, source))


def _parse_config(find: Find, manifest: Manifest, source: Path) -> Mapping[str, object]:
    name = manifest.config_file or _CONFIG
    text = find(name)
    if text is None:
        if manifest.config_file is None:
            return {}
        message = (
            f"The manifest of {str(source)!r} names the configuration {name!r}, which is not in "
            "the archive."
        )
        raise InvalidModel(message)
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        message = f"{name!r} of {str(source)!r} is no YAML: {error}"
        raise InvalidModel(message) from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise InvalidModel(f"{name!r} of {str(source)!r} is no mapping of keys to values.")
    return config


def _read(file: Path) -> bytes | None:
    if not file.is_file():
        return None
    size = file.stat().st_size
    if size > MAX_BYTES:
        message = f"{file.name!r} has {size} bytes, and {MAX_BYTES} are the most."
        raise ModelLoadError(message)
    return file.read_bytes()
