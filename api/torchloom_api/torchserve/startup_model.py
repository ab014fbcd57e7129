"""StartupModel: one version of a model as `models` and snapshots say it. Opens no archive."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec


class StartupModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """How a version is served. Times are in seconds, `max_batch_delay` in milliseconds.

    What is None was not said: the archive's model-config.yaml, then the server's defaults decide.
    Of `models`, `mar_name` counts for nothing: names and versions are those of the archives.
    """

    default_version: bool = False
    mar_name: str = ""
    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None
    response_timeout: int | None = None
    startup_timeout: int | None = None
    runtime_type: str | None = None
    parallel_level: int | None = None

    def to_json(self) -> dict[str, object]:
        """Give what was said, in TorchServe's words and order."""
        values = msgspec.to_builtins(self)
        return {key: value for key, value in values.items() if value is not None}


#: Model → version → how it is served.
StartupModels = Mapping[str, Mapping[str, StartupModel]]


def parse_models(text: str) -> dict[str, dict[str, StartupModel]]:
    """Read the JSON of the key `models`. Raises ValueError, saying where it is wrong."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no JSON: {error}.") from error
    return convert_models(document)


def convert_models(document: object) -> dict[str, dict[str, StartupModel]]:
    """Check JSON that has been read already. Numbers may be strings, as Gson has them."""
    try:
        return msgspec.convert(document, dict[str, dict[str, StartupModel]], strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{error}.") from error
