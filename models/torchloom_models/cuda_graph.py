"""RecordedCode: compiled code that a GPU replays as it was recorded, with no Python in between.

A small batch keeps a GPU busy for less time than its kernels take to launch one by one; a CUDA
graph launches them all at once. It holds for one size and for the very memory that it was recorded
with. Knows no compiler.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from torchloom_models.compiler import Code


if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE


_log = logging.getLogger(__name__)

#: Recordings that are kept, those used last; each holds memory for its arguments and outputs.
MAX_RECORDINGS = 128

#: Sizes that are remembered to have come once.
_MAX_SEEN = 1024


class RecordedCode:
    """Compiled code for CUDA whose calls are recorded when a size comes again.

    The last `num_held` arguments are memory that the caller keeps, such as a KV cache: code reads
    and writes it where it is, and a call with the same tensors again is a replay. All others are
    copied. Outputs are the caller's own. Calls come from one thread at a time.
    """

    def __init__(self, code: Code, *, num_held: int = 0) -> None:
        self._code = code
        self._num_held = num_held
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._pool = torch.cuda.graph_pool_handle()
        self._is_refused = False

    def __call__(self, arguments: Sequence[Tensor]) -> object:
        """Replay, or run; what comes for the second time is recorded."""
        key = self._key(arguments)
        recording = self._recordings.get(key)
        if recording is not None:
            self._recordings.move_to_end(key)
            return recording.replay(arguments)
        output = self._code(arguments)
        if key in self._seen:
            self._record(key, arguments)
        elif len(self._seen) < _MAX_SEEN:
            self._seen.add(key)
        return output

    def record(self, arguments: Sequence[Tensor]) -> None:
        """Record for arguments like these before they are asked for, and run once."""
        self._code(arguments)
        self._record(self._key(arguments), arguments)

    @property
    def num_recordings(self) -> int:
        """How many recordings there are."""
        return len(self._recordings)

    def _key(self, arguments: Sequence[Tensor]) -> Hashable:
        """Tell recordings apart: by layout, and by the very tensors where memory is held.

        A recording holds those tensors, so that no other can come to have their ids.
        """
        num_fed = len(arguments) - self._num_held
        fed = ((each.dtype, each.shape, each.stride()) for each in arguments[:num_fed])
        return (*fed, *map(id, arguments[num_fed:]))

    def _record(self, key: Hashable, arguments: Sequence[Tensor]) -> None:
        """Record, unless the code has turned out to be none that can be."""
        if self._is_refused or key in self._recordings:
            return
        try:
            recording = _Recording(self._code, arguments, self._num_held, self._pool)
        except RuntimeError as error:
            self._is_refused = True
            _log.warning("no CUDA graph could be recorded, so kernels go one by one: %s", error)
            return
        self._seen.discard(key)
        self._recordings[key] = recording
        if len(self._recordings) > MAX_RECORDINGS:
            self._recordings.popitem(last=False)


class _Recording:
    """One graph, the memory that it reads, and the memory that it writes."""

    def __init__(
        self, code: Code, arguments: Sequence[Tensor], num_held: int, pool: _POOL_HANDLE
    ) -> None:
        num_fed = len(arguments) - num_held
        self._fed = [_copy(tensor) for tensor in arguments[:num_fed]]
        self._held = list(arguments[num_fed:])
        self._graph = torch.cuda.CUDAGraph()
        # Other threads go on, such as one that compiles: what they do is no part of the recording.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._outputs = code([*self._fed, *self._held])

    def replay(self, arguments: Sequence[Tensor]) -> object:
        for own, given in zip(self._fed, arguments, strict=False):
            own.copy_(given)
        self._graph.replay()
        return pytree.tree_map_only(Tensor, Tensor.clone, self._outputs)


def _copy(tensor: Tensor) -> Tensor:
    """Copy a tensor, strides and all; torch.compile has other code for inference tensors."""
    with torch.inference_mode(mode=tensor.is_inference()):
        like = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
        )
        return like.copy_(tensor)
