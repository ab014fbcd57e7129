"""Weights: a look at a model's files before anything loads them. Reads headers, never values.

Weights are data: safetensors alone. A pickle can run code as it is read, so it is refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from safetensors import SafetensorError

from torchloom.errors import ModelLoadError
from torchloom_models.artefact import digest_of_text


#: What opening a folder of unknown origin may raise, for good reasons.
LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

#: What lists the shards of a large model: transformers' name, and diffusers'.
_INDEXES = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
)

#: A file begins with the length of its header.
_LENGTH = struct.Struct("<Q")

#: The format allows headers up to 100 MB.
_MAX_HEADER = 100_000_000


def check_folder(folder: Path) -> None:
    """Look whether `folder` holds a configuration and whole safetensors.

    Raises ModelLoadError that says what is missing or broken, where, and how to mend it.
    """
    if not folder.is_dir():
        raise ModelLoadError(f"The source {str(folder)!r} is not a folder with a model in it.")
    read_json(folder / "config.json")
    for file in find_weights(folder):
        read_header(file)


def find_weights(folder: Path) -> list[Path]:
    """List a model's safetensors: the shards of its index if it has one. Raises ModelLoadError."""
    index = next((folder / name for name in _INDEXES if (folder / name).is_file()), None)
    if index is not None:
        shards = cast("Mapping[str, str]", read_json(index).get("weight_map", {}))
        files = [folder / name for name in sorted(set(shards.values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        message = (
            f"{str(folder)!r} lacks {', '.join(missing[:5])}, which its index names. Fetch it."
        )
        raise ModelLoadError(message)
    if not files:
        raise ModelLoadError(_no_weights(folder))
    return files


def read_header(file: Path) -> Mapping[str, object]:
    """Give the header of a safetensors file: dtype, shape and place of each tensor.

    Raises ModelLoadError for a file that is none, or that ends too early.
    """
    with file.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        text = stream.read(length) if 0 < length <= _MAX_HEADER else b""
    try:
        header = cast("dict[str, object]", json.loads(text))
        ends = [
            cast("Mapping[str, list[int]]", entry)["data_offsets"][1]
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = f"{str(file)!r} is broken: it has no safetensors header. Fetch it again."
        raise ModelLoadError(message) from error
    expected = _LENGTH.size + length + max(ends, default=0)
    size = file.stat().st_size
    if size != expected:
        message = (
            f"{str(file)!r} is broken: it has {size} bytes in place of {expected}. A download or a "
            "copy was cut short: fetch it again."
        )
        raise ModelLoadError(message)
    return header


def read_json(file: Path) -> Mapping[str, object]:
    """Read a JSON object. Raises ModelLoadError where there is none."""
    value = _parse(file)
    if not isinstance(value, dict):
        raise ModelLoadError(f"{str(file)!r} should hold a JSON object.")
    return value


def read_json_list(file: Path) -> Sequence[Mapping[str, object]]:
    """Read a JSON list of objects. Raises ModelLoadError where there is none."""
    value = _parse(file)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ModelLoadError(f"{str(file)!r} should hold a JSON list of objects.")
    return value


def _parse(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = (
            f"{str(file.parent)!r} has no {file.name}. A model folder is laid out as "
            "`save_pretrained` of transformers writes it."
        )
        raise ModelLoadError(message) from error
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{str(file)!r} cannot be read as JSON: {error}.") from error


def digest_of_folder(folder: Path) -> str:
    """Digest all that shapes a model's code: its JSON files, and the headers of its weights.

    The values of weights do not count: compiled code is bound to them when it is loaded.
    """
    parts = []
    for file in sorted(folder.rglob("*.json")):
        parts += [str(file.relative_to(folder)), file.read_text(encoding="utf-8", errors="replace")]
    for file in sorted(folder.rglob("*.safetensors")):
        header = json.dumps(read_header(file), sort_keys=True)
        parts += [str(file.relative_to(folder)), header]
    return digest_of_text(*parts)


def _no_weights(folder: Path) -> str:
    pickles = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLES]
    if not pickles:
        return f"{str(folder)!r} holds no weights: there is no *.safetensors file in it."
    return (
        f"{str(folder)!r} holds weights only as pickles ({', '.join(pickles[:3])}), which can run "
        "code as they are read. Save them as safetensors: load the model where you trust it, and "
        "`model.save_pretrained(folder, safe_serialization=True)`."
    )
