"""Fingerprint: a digest of a module's code and of the values that a compiler may bake in.

Two modules of equal fingerprint can share compiled code, each with its own weights. Knows no
compiler.
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from torchloom_models.artefact import digest_of_text


#: A compiler may fold the values of tensors up to this many elements into its code.
MAX_FOLDED = 4096


def fingerprint_of(module: nn.Module) -> str:
    """Digest the classes' source files, the structure, all shapes, and the values of small tensors.

    Tensors of more than `MAX_FOLDED` elements count by name, shape, stride and dtype alone.
    """
    parts = [repr(module), *_sources(module)]
    parts += [part.code for part in module.modules() if isinstance(part, fx.GraphModule)]
    for name, tensor in sorted(named_tensors(module).items()):
        parts.append(f"{name} {tuple(tensor.shape)} {tensor.stride()} {tensor.dtype}")
        if tensor.numel() <= MAX_FOLDED and not tensor.is_meta:
            parts.append(_digest_of_values(tensor))
    return digest_of_text(*parts)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Give every parameter and buffer by name; one that is shared, under each of its names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def values_digest(module: nn.Module) -> str:
    """Digest every value: for code that holds the weights themselves. About a second a gigabyte."""
    tensors = sorted(named_tensors(module).items())
    return digest_of_text(*(f"{name} {_digest_of_values(tensor)}" for name, tensor in tensors))


def _digest_of_values(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(flat.numpy().tobytes(), digest_size=16).hexdigest()


def _sources(module: nn.Module) -> list[str]:
    """Digest each source file once. torch's own files are covered by its version."""
    classes = {type(part) for part in module.modules()}
    classes = {each for each in classes if not each.__module__.startswith("torch.")}
    names = sorted(f"{each.__module__}.{each.__qualname__}" for each in classes)
    files = {file for each in classes if (file := _file_of(each)) is not None}
    return [*names, *(hashlib.blake2b(file.read_bytes()).hexdigest() for file in sorted(files))]


def _file_of(of: type) -> Path | None:
    """Find where a class was written; one made at run time has no file."""
    try:
        path = inspect.getsourcefile(of)
    except TypeError:
        return None
    return Path(path) if path is not None and Path(path).is_file() else None
