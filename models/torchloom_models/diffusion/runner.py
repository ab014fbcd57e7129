"""Runner: runs a family's networks for pictures. Knows no task, and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.diffusion.family import Family
from torchloom_models.diffusion.network import Network
from torchloom_models.diffusion.picture import Picture
from torchloom_models.diffusion.preview import Previewer
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.start import Starter
from torchloom_models.diffusion.step_batch import StepBatch
from torchloom_models.diffusion.text import Text, TextEncoder


#: Pixels that are decoded at once; more only take memory.
_MAX_DECODED_PIXELS = 2**21


class Runner:
    """A family's networks: texts and images in, a step for many pictures, and pixels out."""

    def __init__(
        self,
        family: Family,
        *,
        texts: TextEncoder,
        denoiser: Network,
        decoder: Network,
        starter: Starter,
        previewer: Previewer,
    ) -> None:
        self._previewer = previewer
        self._family = family
        self._texts = texts
        self._denoiser = denoiser
        self._decoder = decoder
        self._starter = starter

    @torch.inference_mode()
    def begin(self, pictures: Sequence[Picture]) -> None:
        """Give new pictures their conditions and their first latents."""
        texts = self._texts.encode(text for picture in pictures for text in self._wanted(picture))
        for picture in pictures:
            request = picture.request
            text = texts[request.prompt]
            picture.conditions = self._family.conditions(text, request)
            if self._family.traits.doubles_rows(request.guidance):
                picture.without = self._family.conditions(self._negative(request, texts), request)
            self._starter.start(picture)

    @torch.inference_mode()
    def step(self, pictures: Sequence[Picture]) -> None:
        """Call the network once for pictures of one size and advance each."""
        batch = StepBatch(pictures)
        predictions = batch.split(self._denoiser.tensor(*batch.arguments()))
        for picture, prediction in zip(pictures, predictions, strict=True):
            picture.advance(prediction)

    def preview(self, estimate: Tensor) -> NDArray[np.uint8]:
        """Give the pixels [h, w, 3] of a small picture of where a picture leads."""
        return self._previewer.show(estimate)

    @torch.inference_mode()
    def decode(self, pictures: Sequence[Picture]) -> list[NDArray[np.uint8]]:
        """Give the pixels [height, width, 3] of pictures of one size."""
        request = pictures[0].request
        at_once = max(_MAX_DECODED_PIXELS // (request.width * request.height), 1)
        found: list[NDArray[np.uint8]] = []
        for first in range(0, len(pictures), at_once):
            latents = [_latents(picture) for picture in pictures[first : first + at_once]]
            pixels = self._decoder.tensor(torch.cat(latents))
            found += list(to_bytes(pixels))
        return found

    def draw(self, picture: Picture) -> NDArray[np.uint8]:
        """Draw one picture to its end; give its pixels [height, width, 3]."""
        self.begin([picture])
        while not picture.is_done:
            self.step([picture])
        return self.decode([picture])[0]

    def warm_up(self, pictures: Sequence[Picture], report: Report) -> None:
        """Compile for pictures like these, two of each at once. Raises ModelLoadError."""
        self._texts.warm_up(report)
        self.begin(pictures)
        with torch.inference_mode():
            steps = [StepBatch([picture, picture]).arguments() for picture in pictures]
            pairs = [(torch.cat([_latents(picture)] * 2),) for picture in pictures]
        self._denoiser.warm_up(steps, report)
        self._decoder.warm_up(pairs, report)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        networks = (self._denoiser, self._decoder)
        return [*self._texts.code_status(), *(each.compiled.status() for each in networks)]

    def close(self) -> None:
        """End what still compiles."""
        self._texts.close()
        self._denoiser.close()
        self._decoder.close()

    def _wanted(self, picture: Picture) -> list[str]:
        request = picture.request
        if not self._family.traits.doubles_rows(request.guidance) or self._is_zero(request):
            return [request.prompt]
        return [request.prompt, request.negative_prompt or ""]

    def _is_zero(self, request: PictureRequest) -> bool:
        return request.negative_prompt is None and self._family.traits.zeroes_negative

    def _negative(self, request: PictureRequest, texts: dict[str, Text]) -> Text:
        if self._is_zero(request):
            return tuple(torch.zeros_like(tensor) for tensor in texts[request.prompt])
        return texts[request.negative_prompt or ""]


def to_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """Give pictures [n, 3, height, width] of 0 to 1 as [n, height, width, 3] of 0 to 255."""
    shades: NDArray[np.float32] = pixels.permute(0, 2, 3, 1).float().cpu().numpy()
    return (shades * 255).round().astype(np.uint8)


def _latents(picture: Picture) -> Tensor:
    assert picture.latents is not None, repr(picture)
    return picture.latents
