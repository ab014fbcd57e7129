"""Manifest: what an archive says of itself in `MAR-INF/MANIFEST.json`. Opens no archive.

Only names are needed: a model's name and its handler. All else has a default.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from torchloom.errors import InvalidModel


#: Where it lies in an archive.
PLACE: Final = PurePosixPath("MAR-INF/MANIFEST.json")

#: The largest that is read.
MAX_BYTES: Final = 1 << 20

_DEFAULT_VERSION: Final = "1.0"

#: What a name is made of where no manifest gives one.
_NO_WORD = re.compile(r"\W")

_ENDINGS: Final = (".tar.gz", ".tgz", ".mar", ".model")


class _Model(msgspec.Struct, frozen=True, rename="camel"):
    """The part `model`. Unknown keys are let be: archivers of all ages write some."""

    model_name: str = ""
    handler: str = ""
    model_version: str | float | None = None
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    envelope: str | None = None


class _Document(msgspec.Struct, frozen=True):
    """The whole of it."""

    model: _Model = _Model()
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is known of an archive before it is unpacked. `document` is what handlers are shown."""

    name: str
    version: str
    handler: str
    runtime: str = "python"
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    envelope: str | None = None
    document: dict[str, object]

    @classmethod
    def parse(cls, text: bytes, *, source: str) -> Manifest:
        """Read a manifest. Raises InvalidModel that says which archive, what and how to mend it."""
        try:
            document = json.loads(text)
            parsed = msgspec.convert(document, _Document)
        except (ValueError, RecursionError) as error:
            message = f"Failed to parse the manifest of {source!r} ({PLACE}): {error}."
            raise InvalidModel(message) from error
        model = parsed.model
        for key, value in (("modelName", model.model_name), ("handler", model.handler)):
            if not value:
                message = (
                    f"Missing {key} entry in the manifest of {source!r} ({PLACE}). Make the "
                    "archive again with torch-model-archiver or `torchloom archive`."
                )
                raise InvalidModel(message)
        version = model.model_version
        return cls(
            name=model.model_name,
            version=_DEFAULT_VERSION if version in (None, "") else str(version),
            handler=model.handler,
            runtime=parsed.runtime or "python",
            serialized_file=model.serialized_file or None,
            model_file=model.model_file or None,
            requirements_file=model.requirements_file or None,
            config_file=model.config_file or None,
            envelope=model.envelope or None,
            document=document,
        )

    @classmethod
    def without_file(cls, source: Path, *, handler: str | None) -> Manifest:
        """Make one for an archive that has none. Raises InvalidModel where no handler is named."""
        if not handler:
            message = (
                f"{str(source)!r} has no {PLACE}, so that nobody knows its handler. Name one with "
                "the key `handler`, or make the archive again with `torchloom archive`."
            )
            raise InvalidModel(message)
        name = _NO_WORD.sub("_", stem_of(source))
        model = {"modelName": name, "modelVersion": _DEFAULT_VERSION, "handler": handler}
        document: dict[str, object] = {"runtime": "python", "model": model}
        return cls(name=name, version=_DEFAULT_VERSION, handler=handler, document=document)


def stem_of(source: Path) -> str:
    """Give an archive's name without its ending: `resnet` of `resnet.tar.gz`."""
    ending = next((each for each in _ENDINGS if source.name.endswith(each)), "")
    return source.name.removesuffix(ending)
