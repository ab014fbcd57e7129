"""DecodeStep: one token more for each row, compiled. Knows no scheduling and no sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.buckets import bucket_of, powers_of_two, rounded_up
from torchloom_models.compile import Dim
from torchloom_models.llm.adapter.adapter import NO_PLACE
from torchloom_models.llm.adapter.stack import Mixer
from torchloom_models.llm.attention import DecodeCache
from torchloom_models.llm.cache.kv_cache import KvCache
from torchloom_models.recipe import Recipe


#: Passes attend to a multiple of so many positions; the shortest, where each length is compiled.
_LENGTH_STEP = 64


class DecodeModule(nn.Module):
    """The pass itself: tensors in, tensors out."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, *buffers: torch.Tensor
    ) -> torch.Tensor:
        """Give logits [rows, vocabulary] for tokens [rows] at positions [rows].

        `buffers` is a view of the KvCache; the tokens' keys and values are written to it.
        """
        output = self.model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            past_key_values=DecodeCache(buffers, positions),
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits


class DecodeStep:
    """The pass in two compiled forms: for one row, and for any number of more.

    Code for one row multiplies a vector where the other multiplies a matrix. Where sizes are
    dynamic both serve every length, and nothing is padded that need not be; but where code is
    recorded, as it is on CUDA unless the model file says another mode, each size is one recording.
    """

    def __init__(
        self, model: PreTrainedModel, cache: KvCache, recipe: Recipe, mixer: Mixer
    ) -> None:
        module = mixer.wrap(DecodeModule(model))
        settings = recipe.settings.preferring("reduce-overhead")
        recipe = replace(recipe, settings=settings)
        self._cache = cache
        self._mixer = mixer
        self._is_recorded = settings.records_on(recipe.key.device)
        self._is_padded = self._is_recorded or not settings.dynamic
        self._row_buckets = powers_of_two(1, cache.num_slots)
        self._length_buckets = settings.buckets or powers_of_two(
            min(2 * _LENGTH_STEP, cache.max_length), cache.max_length
        )
        length = Dim("length", min=2, max=cache.max_length)
        # Two slots make one number of rows beside one: nothing is open then.
        many = {0: Dim("rows", min=2, max=cache.num_slots)} if cache.num_slots > 2 else {}  # noqa: PLR2004
        num_buffers = 2 * cache.num_layers
        self._one, self._many = (
            recipe.of_part(f"decode-{part}").compile(
                module,
                dims=mixer.dims(batch, [batch, batch, *[{**batch, 2: length}] * num_buffers]),
                num_held=num_buffers + mixer.num_held,
            )
            for part, batch in (("one", {}), ("many", many))
        )

    def __call__(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        buffers: Sequence[torch.Tensor],
        places: Sequence[int],
    ) -> torch.Tensor:
        """Run the pass, each row with the adapter at its place; see DecodeModule."""
        step = self._one if tokens.shape[0] == 1 else self._many
        arguments = self._mixer.arguments(places, (tokens, positions, *buffers))
        return cast("torch.Tensor", step(*arguments))

    def padded_rows(self, num_rows: int) -> int:
        """Give the number of rows that a pass over so many is run with."""
        return bucket_of(num_rows, self._row_buckets) if self._is_padded else num_rows

    def padded_length(self, length: int) -> int:
        """Give the length that a pass over so many positions is run with."""
        if self._is_padded:
            return bucket_of(length, self._length_buckets)
        return rounded_up(length, _LENGTH_STEP, self._cache.max_length)

    def warm_up(self, report: Report) -> None:
        """Compile for one row and for many, and record what can be, before the first request."""
        length = self.padded_length(4 * _LENGTH_STEP)
        one, *many = self._row_buckets if self._is_recorded else (1, self._cache.num_slots)
        self._one.warm_up(self._examples([one], length), report)
        if self._cache.num_slots > 1:
            self._many.warm_up(self._examples(many[::-1], length), report)

    def _examples(self, rows: Sequence[int], length: int) -> list[tuple[torch.Tensor, ...]]:
        """Give what code is tuned for, and then what else is to be recorded."""
        others = self._length_buckets if self._is_recorded else ()
        lengths = [length, *(other for other in others if other != length)]
        return [self._example(num, each) for each in lengths for num in rows]

    def _example(self, num_rows: int, length: int) -> tuple[torch.Tensor, ...]:
        buffers = self._cache.view(num_rows, length)
        zeros = torch.zeros(num_rows, dtype=torch.long, device=buffers[0].device)
        arguments = (zeros, zeros.clone(), *buffers)
        return self._mixer.arguments([NO_PLACE] * num_rows, arguments)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return [self._one.status(), self._many.status()]

    def close(self) -> None:
        """End what still compiles."""
        self._one.close()
        self._many.close()
