"""CacheRoom: how large a cache gets: by the model, the model file, and the memory that is free.

Makes no cache, and knows no tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import psutil
import torch

from torchloom.byte_count import parse_byte_count
from torchloom.errors import ModelLoadError
from torchloom.placement import to_size
from torchloom_models.llm.cache.kv_cache import CacheSize, LayerShape


#: The share of free memory that a cache may fill where the model file does not say its size.
_MEMORY_SHARE = 0.5

#: A context that memory cuts shorter than this is an error rather than a surprise.
_MIN_LENGTH = 256

#: A context that memory cuts short is a multiple of this.
_LENGTH_STEP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRoom:
    """What bounds a cache.

    `max_sequences`, `max_length` and `kv_cache` are what the model file says: `max_length` is None
    where it does not, `kv_cache` {"tokens": …} or {"memory": …}. `model_length` is the longest
    sequence that the model was made for.
    """

    layers: Sequence[LayerShape]
    bytes_per_token: int
    model_length: int | None
    max_sequences: int
    max_length: int | None
    kv_cache: Mapping[str, object] | None
    free_bytes: int
    device: str

    @property
    def stated_tokens(self) -> int | None:
        """How many tokens the model file has set aside; None where it does not say."""
        if self.kv_cache is None:
            return None
        if "tokens" in self.kv_cache:
            return cast("int", self.kv_cache["tokens"])
        return parse_byte_count(cast("str | int", self.kv_cache["memory"])) // self.bytes_per_token

    def pages(self, block_size: int) -> CacheSize:
        """Size a cache whose blocks go to whichever sequences need them. Raises ModelLoadError."""
        room = self._num_tokens() // block_size * block_size
        length = self._wished_length() or self._default_length(room)
        longest = -(-length // block_size) * block_size
        if longest > room:
            raise self._too_small(room, length)
        most, note = self.max_sequences * longest, ""
        if self.kv_cache is None:
            if room < most:
                note = (
                    f"the cache has room for {room} tokens, half of the free memory, of the {most} "
                    "that max_sequences of max_length take: `kv_cache` sets it"
                )
            room = min(room, most)
        return self._size(self.max_sequences, length, room, note)

    def slots(self) -> CacheSize:
        """Size a cache where each sequence has room for its whole length. Raises ModelLoadError."""
        room, number, note = self._num_tokens(), self.max_sequences, ""
        length = self._wished_length()
        if length is None:
            length = self._default_length(room // number)
        elif room < number * length:
            number = room // length
            note = (
                f"{number} sequences at once, not {self.max_sequences}: the cache has room for "
                f"{room} tokens, and each takes max_length of them here"
            )
        if not number:
            raise self._too_small(room, length)
        return self._size(number, length, number * length, note)

    def _size(self, num_slots: int, max_length: int, num_tokens: int, note: str) -> CacheSize:
        return CacheSize(
            layers=self.layers,
            num_slots=num_slots,
            max_length=max_length,
            num_tokens=num_tokens,
            note=note,
        )

    def _num_tokens(self) -> int:
        """Give the most tokens in all. Raises ModelLoadError where there is no memory for them."""
        stated = self.stated_tokens
        if stated is None:
            return int(self.free_bytes * _MEMORY_SHARE) // self.bytes_per_token
        size = stated * self.bytes_per_token
        if size > self.free_bytes:
            message = (
                f"The {stated} tokens of kv_cache take {to_size(size)}, but of the memory of "
                f"{self.device} {to_size(self.free_bytes)} is free. Lower kv_cache."
            )
            raise ModelLoadError(message)
        return stated

    def _wished_length(self) -> int | None:
        if self.max_length and self.model_length and self.max_length > self.model_length:
            message = (
                f"max_length is {self.max_length}, but the model was made for {self.model_length} "
                "tokens."
            )
            raise ModelLoadError(message)
        return self.max_length

    def _default_length(self, fitting: int) -> int:
        """Give the model's own length, or as much of it as fits."""
        if self.model_length is not None and self.model_length <= fitting:
            return self.model_length
        if fitting < _MIN_LENGTH:
            message = (
                f"The cache has room for {fitting} tokens of a sequence, which is under "
                f"{_MIN_LENGTH}. Raise kv_cache, lower max_sequences, or write max_length."
            )
            raise ModelLoadError(message)
        return fitting // _LENGTH_STEP * _LENGTH_STEP

    def _too_small(self, room: int, length: int) -> ModelLoadError:
        whose = "kv_cache has" if self.kv_cache else f"Half of the free memory of {self.device} has"
        message = (
            f"{whose} room for {room} tokens, but one sequence of max_length takes {length}. "
            "Raise kv_cache, or lower max_length."
        )
        return ModelLoadError(message)


def free_bytes(place: str) -> int:
    """Give the memory of a device that nobody uses."""
    if place.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(place)
        return free
    return psutil.virtual_memory().available
