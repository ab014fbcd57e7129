"""`ts.handler_utils.distributed.deepspeed`: DeepSpeed is imported when an engine is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def get_ds_engine(model: Any, ctx: Any) -> Any:
    """Give DeepSpeed's engine around a model.

    `deepspeed` of model-config.yaml names the files `config` and, where there is one, `checkpoint`,
    both of the archive. Raises ImportError where DeepSpeed is not installed, and ValueError for
    what is not said or not there.
    """
    said = (ctx.model_yaml_config or {}).get("deepspeed")
    if not isinstance(said, Mapping):
        message = f"model-config.yaml of {ctx.model_name!r} has no `deepspeed`."
        raise ValueError(message)  # noqa: TRY004 - what is wrong is a value of a file
    folder = Path(str(ctx.system_properties.get("model_dir")))
    files = {key: _file(ctx, folder, said, key) for key in ("config", "checkpoint")}
    try:
        deepspeed = importlib.import_module("deepspeed")
    except ModuleNotFoundError as error:
        message = "This handler needs the package deepspeed, which is not installed here."
        raise ImportError(message) from error
    return deepspeed.init_inference(model, **files)


def _file(ctx: Any, folder: Path, said: Mapping[str, Any], key: str) -> str | None:
    name = said.get(key)
    if name is None:
        return None
    file = folder / str(name)
    if not file.is_file():
        message = f"`deepspeed` of {ctx.model_name!r} names the {key} {str(name)!r}: no such file."
        raise ValueError(message)
    return str(file)
