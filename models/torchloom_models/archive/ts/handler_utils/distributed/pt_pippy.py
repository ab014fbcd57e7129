"""`ts.handler_utils.distributed.pt_pippy`: processes that call each other, and pipelines of PiPPy.

PiPPy (torchpippy) is imported when a pipeline is asked for: what torch has instead of it today,
`torch.distributed.pipelining`, needs no help from here.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch.distributed import rpc


_log = logging.getLogger(__name__)

#: What holds where `pippy` of model-config.yaml does not say it.
_THREADS: Final = 512
_TIMEOUT_S: Final = 1800

_MISSING: Final = (
    "Pipelines of PiPPy need the package torchpippy, which is not installed here: install it, or "
    "cut the model with torch.distributed.pipelining, which torch brings along."
)


def initialize_rpc_workers(local_rank: int, world_size: int, ctx: Any) -> None:
    """Let all processes of a worker call each other: `worker0`, `worker1` and so on.

    `rpc_timeout` (seconds) and `num_worker_threads` are of `pippy` in model-config.yaml.
    """
    said = _section(ctx, "pippy")
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=int(said.get("num_worker_threads", _THREADS)),
        rpc_timeout=float(said.get("rpc_timeout", _TIMEOUT_S)),
    )
    num_devices = torch.cuda.device_count()
    if num_devices:
        for other in range(world_size):
            options.set_device_map(
                f"worker{other}", {local_rank % num_devices: other % num_devices}
            )
    rpc.init_rpc(  # type: ignore[no-untyped-call]  # torch has not typed it
        f"worker{local_rank}",
        rank=local_rank,
        world_size=world_size,
        rpc_backend_options=options,
    )


def get_pipeline_driver(model: torch.nn.Module, world_size: int, ctx: Any) -> Any:
    """Cut a model into as many stages as there are processes, of about the same size.

    `pippy` of model-config.yaml has `input_names`, `model_type` (`HF` for those of transformers)
    and `chunks`; `handler` has `model_path` and `index_filename`. Raises ImportError where PiPPy is
    not installed, and ValueError for what is not said.
    """
    pippy = _import("pippy")
    said, paths = _section(ctx, "pippy"), _section(ctx, "handler")
    for section, key, found in (
        ("pippy", "input_names", said),
        ("pippy", "model_type", said),
        ("handler", "model_path", paths),
    ):
        if key not in found:
            message = f"`{section}` of model-config.yaml has no `{key}`, which PiPPy needs."
            raise ValueError(message)
    is_hf = said["model_type"] == "HF"
    model.eval()
    parameters = inspect.signature(model.forward).parameters.values()
    fixed = {each.name: each.default for each in parameters if each.name not in said["input_names"]}
    if is_hf and "bloom" in str(type(model)):
        fixed.setdefault("deprecated_arguments", {})
    hf = _import("pippy.hf") if is_hf else None
    _log.info("The model is cut into %s stages.", world_size)
    driver, _ = pippy.all_compile(
        model,
        num_ranks=world_size,
        num_chunks=said.get("chunks", 1),
        schedule="FillDrain",
        split_policy=pippy.split_into_equal_size(world_size),
        tracer=hf.PiPPyHFTracer() if hf else None,
        concrete_args=fixed,
        index_filename=_index(paths),
        checkpoint_prefix=None,
    )
    if hf is None:
        return driver
    hf.inject_pipeline_forward(model, driver)
    return model


def _section(ctx: Any, name: str) -> Mapping[str, Any]:
    found = (ctx.model_yaml_config or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def _index(paths: Mapping[str, Any]) -> str | None:
    name = paths.get("index_filename")
    if name is None:
        return None
    file = Path(str(paths["model_path"])) / str(name)
    if not file.is_file():
        message = f"`handler` of model-config.yaml names the index {str(file)!r}: no such file."
        raise ValueError(message)
    return str(file)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(_MISSING) from error
