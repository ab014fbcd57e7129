"""Exported programs (`.pt2`, made by torch.export.save): opened without unpickling anything.

Knows the archive's layout, and nothing of engines. A program is still code, which torch runs: it
comes only from where the operator put it.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torchloom.errors import ModelLoadError


if TYPE_CHECKING:
    from torch.export import ExportedProgram


def load_program(path: Path) -> ExportedProgram:
    """Open an exported program. Raises ModelLoadError for one that is broken or holds pickles."""
    import torch  # noqa: PLC0415 - costs seconds; only engines pay

    try:
        refuse_pickles(path)
        with warnings.catch_warnings():
            # torch 2.11 keeps weights in memory that it holds to be read-only, and warns of that.
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            return torch.export.load(path)
    except ModelLoadError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError) as error:
        message = f"The exported program {str(path)!r} cannot be opened: {error}"
        raise ModelLoadError(message) from error


def refuse_pickles(path: Path) -> None:
    """Look through the archive before torch does, which would unpickle whatever is there.

    Raises ModelLoadError for pickled weights or constants, native code, and sample inputs that are
    more than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names):
                # torch's reader and ours might not open the same one of the two.
                raise _unsafe(path, "it holds two entries of one name")
            for name in names:
                _check_entry(archive, name, path)
    except zipfile.BadZipFile as error:
        message = f"{str(path)!r} is no exported program: {error}."
        raise ModelLoadError(message) from error


def _check_entry(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    if name.endswith(("weights_config.json", "constants_config.json")):
        entries = json.loads(archive.read(name)).get("config", {})
        pickled = sorted(key for key, entry in entries.items() if _is_pickled(entry))
        if pickled:
            raise _unsafe(path, f"{pickled[0]!r} is pickled")
    elif name.endswith(".pt") and "/data/sample_inputs/" not in name:
        raise _unsafe(path, f"{name!r} is a pickle of an older format")
    elif name.endswith((".so", ".cubin", ".o")):
        raise _unsafe(path, f"{name!r} is native code")
    elif "/data/sample_inputs/" in name:
        _check_samples(archive.read(name), name, path)


def _is_pickled(entry: Mapping[str, object]) -> bool:
    """Objects that are no tensors are pickled, whatever the entry says of itself."""
    file = str(entry.get("path_name", ""))
    is_tensor = file.startswith(("weight_", "tensor_"))
    return bool(entry.get("use_pickle")) or not is_tensor


def _check_samples(data: bytes, name: str, path: Path) -> None:
    import pickle  # noqa: PLC0415 - only its error is used

    import torch  # noqa: PLC0415 - costs seconds; only engines pay

    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise _unsafe(path, f"{name!r} holds more than tensors") from error


def _unsafe(path: Path, what: str) -> ModelLoadError:
    message = (
        f"The exported program {str(path)!r} is refused: {what}. Export it again with plain "
        "tensors as weights and sample inputs."
    )
    return ModelLoadError(message)
