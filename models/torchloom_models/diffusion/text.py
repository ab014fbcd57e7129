"""Text: prompts become what a denoising network reads. Knows no picture and no step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.diffusion.network import Network


#: What is known of one prompt: tensors without a batch dimension, as the family joins them.
Text = tuple[Tensor, ...]

#: Texts that are kept: the prompts of a burst, and the empty text.
_MAX_KEPT = 64


@dataclass(frozen=True, slots=True)
class TextTower:
    """A tokenizer, and the encoder behind it: forward takes ids [texts, length].

    Texts that are longer are cut, as diffusers cuts them.
    """

    tokenizer: Any
    encoder: nn.Module
    length: int

    def tokens(self, texts: Sequence[str], device: str) -> Tensor:
        """Give token ids [texts, length], padded as the tokenizer pads."""
        encoded = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        )
        return cast("Tensor", encoded.input_ids).to(device)


class TextEncoder:
    """Towers side by side, and what they said of the latest prompts.

    `encoders` run the towers' encoders, in order; `join` makes one tuple of tensors [texts, …] of
    what all of them gave.
    """

    def __init__(
        self,
        towers: Sequence[TextTower],
        encoders: Sequence[Network],
        join: Callable[[Sequence[tuple[Tensor, ...]]], tuple[Tensor, ...]],
        *,
        device: str,
    ) -> None:
        self._towers = towers
        self._encoders = encoders
        self._join = join
        self._device = device
        self._kept: OrderedDict[str, Text] = OrderedDict()

    def warm_up(self, report: Report) -> None:
        """Compile the encoders before the first text. Raises ModelLoadError."""
        for tower, encoder in zip(self._towers, self._encoders, strict=True):
            encoder.warm_up([(tower.tokens(["a", "b"], self._device),)], report)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return [encoder.compiled.status() for encoder in self._encoders]

    def close(self) -> None:
        """End what still compiles."""
        for encoder in self._encoders:
            encoder.close()

    def encode(self, texts: Iterable[str]) -> dict[str, Text]:
        """Give what is known of each text; new ones are encoded together."""
        wanted = dict.fromkeys(texts)
        new = [text for text in wanted if text not in self._kept]
        if new:
            outputs = [
                encode.tensors(tower.tokens(new, self._device))
                for tower, encode in zip(self._towers, self._encoders, strict=True)
            ]
            rows = zip(*(torch.unbind(tensor) for tensor in self._join(outputs)), strict=True)
            # A row that stays must not keep the whole batch.
            found = [tuple(tensor.clone() for tensor in row) for row in rows]
            self._kept.update(zip(new, found, strict=True))
        known = {text: self._kept[text] for text in wanted}
        for text in wanted:
            self._kept.move_to_end(text)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return known
