"""Snapshots: which models a server has, as TorchServe writes them down. Reads and writes no file.

A snapshot is a config.properties with what was given, and the models as JSON under one key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.java_properties import write_properties
from torchloom_api.torchserve.startup_model import StartupModel, StartupModels, convert_models


#: When it is written: when the server has started, after each change, when it stops.
Moment = Literal["startup", "snapshot", "shutdown"]

_NAME: Final = re.compile(r"([0-9]{17})-(startup|snapshot|shutdown)\.cfg")


class InvalidSnapshot(TorchLoomError):
    """The snapshot cannot be restored; the server does not start."""

    title = "The snapshot is not valid"


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    models: dict[str, object]
    name: str = ""
    created: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A file's name and what it says. `created_ms` counts from 1970; 0 where nobody said it."""

    name: str
    created_ms: int
    models: StartupModels

    @classmethod
    def take(cls, models: StartupModels, *, moment: Moment, now: datetime) -> Snapshot:
        """Name a snapshot after the time, in the zone that `now` has."""
        stamp = now.strftime("%Y%m%d%H%M%S") + f"{now.microsecond // 1000:03d}"
        created_ms = int(now.timestamp()) * 1000 + now.microsecond // 1000
        return cls(name=f"{stamp}-{moment}.cfg", created_ms=created_ms, models=models)

    @classmethod
    def read(cls, text: str) -> Snapshot:
        """Read the JSON of the key `model_snapshot`. Raises InvalidSnapshot.

        The models alone are needed: KServe's users write theirs by hand, without a time.
        """
        try:
            document = msgspec.convert(json.loads(text), _Document, strict=False)
            models = convert_models(document.models)
        except ValueError as error:
            raise InvalidSnapshot(f"model_snapshot cannot be read: {error}") from error
        for model, versions in models.items():
            if not all(said.mar_name for said in versions.values()):
                message = f"model_snapshot cannot be read: {model!r} has no `marName`."
                raise InvalidSnapshot(message)
        return cls(name=document.name, created_ms=document.created, models=models)

    def write(self, given: Mapping[str, str], *, now: datetime) -> str:
        """Write the file: the keys that were `given`, and the models in place of older ones."""
        comments = ("Saving snapshot", now.strftime("%a %b %d %H:%M:%S %Z %Y"))
        return write_properties({**given, "model_snapshot": self.to_json()}, comments)

    def to_json(self) -> str:
        """Write the models as TorchServe does: two spaces, in its order of keys."""
        num_versions = sum(map(len, self.models.values()))
        models = {
            name: {version: model.to_json() for version, model in versions.items()}
            for name, versions in self.models.items()
        }
        document = {
            "name": self.name,
            "modelCount": num_versions,
            "created": self.created_ms,
            "models": models,
        }
        return json.dumps(document, indent=2, ensure_ascii=False)

    def require_archives(self, is_there: Callable[[str], bool]) -> None:
        """Raise InvalidSnapshot, naming every archive that is not there."""
        missing = sorted(
            {
                f"{model.mar_name} (model {name!r}, version {version})"
                for name, version, model in self._each()
                if not is_there(model.mar_name)
            }
        )
        if missing:
            raise InvalidSnapshot(
                f"The snapshot {self.name} names archives that are not in the model store: "
                f"{', '.join(missing)}. Put them back, or start with --no-config-snapshots."
            )

    def _each(self) -> Iterable[tuple[str, str, StartupModel]]:
        for name, versions in self.models.items():
            for version, model in versions.items():
                yield name, version, model


def newest(names: Iterable[str]) -> str | None:
    """Find the newest snapshot among a folder's file names, by the time in its name."""
    found = [match for name in names if (match := _NAME.fullmatch(name))]
    return max(found, key=lambda match: match[1]).string if found else None
