"""CompileConfig: the section `pt2` of `model-config.yaml`, in all forms. Imports no framework."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self


_log = logging.getLogger(__name__)

#: The key by which the examples beyond TorchServe 0.12 ask torchao to quantize; it knows none.
_QUANTIZATION: Final = "ao"

#: The backends that TorchServe takes.
BACKENDS: Final = frozenset(
    {
        *("eager", "aot_eager", "inductor", "nvfuser", "aot_nvfuser", "aot_cudagraphs", "ofi"),
        *("fx2trt", "onnxrt", "ipex", "torchxla_trace_once", "openvino", "tensorrt"),
        *("hpu_backend", "cudagraphs"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileConfig:
    """What is to be compiled and how: `arguments` go to torch.compile, None where it is not asked.

    `is_exported`: the weights are code that AOTInductor has made.
    """

    arguments: Mapping[str, object] | None = None
    is_exported: bool = False

    @classmethod
    def read(cls, section: object) -> Self:
        """Read a backend's name, `{compile: {…}}`, `{export: {…}}` or arguments. ValueError."""
        if section is None or section is False:
            return cls()
        if isinstance(section, str):
            return cls(arguments=_checked({"backend": section}))
        if not isinstance(section, Mapping):
            message = f"`pt2` is a backend's name or a mapping, not {section!r}."
            raise ValueError(message)  # noqa: TRY004 - of the file, not of a caller
        section = _without_quantization(section)
        if section is None:
            return cls()
        return cls._read_mapping(section)

    @classmethod
    def _read_mapping(cls, section: Mapping[str, object]) -> Self:
        export = section.get("export")
        is_exported = isinstance(export, Mapping) and bool(export.get("aot_compile"))
        if "compile" not in section and "export" not in section:
            return cls(arguments=_checked(section))
        compile_ = section.get("compile")
        if compile_ is None:
            return cls(is_exported=is_exported)
        if not isinstance(compile_, Mapping):
            message = f"`pt2.compile` is a mapping such as {{enable: true}}, not {compile_!r}."
            raise ValueError(message)  # noqa: TRY004 - of the file, not of a caller
        if not compile_.get("enable", False):
            return cls(is_exported=is_exported)
        arguments = {key: value for key, value in compile_.items() if key != "enable"}
        return cls(arguments=_checked(arguments), is_exported=is_exported)


def _without_quantization(section: Mapping[str, object]) -> Mapping[str, object] | None:
    """Leave out what asks for torchao; None where there is nothing else."""
    if _QUANTIZATION not in section:
        return section
    _log.warning("`pt2.ao` means nothing, as in TorchServe 0.12: weights stay as they are.")
    return {key: value for key, value in section.items() if key != _QUANTIZATION} or None


def _checked(arguments: Mapping[str, object]) -> Mapping[str, object]:
    backend = arguments.get("backend", "inductor")
    if backend not in BACKENDS:
        message = f"There is no backend {backend!r} for `pt2`; there are: {sorted(BACKENDS)}."
        raise ValueError(message)
    return arguments
