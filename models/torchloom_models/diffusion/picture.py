"""Picture: one request, from its seed to its last step. Knows no batch and no network."""

from __future__ import annotations

import torch
from torch import Tensor

from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.schedule import Schedule


#: The conditions of one row, without a batch dimension.
Conditions = tuple[Tensor, ...]


class Picture:
    """A request, its own generator and schedule, and its latents [1, channels, h, w].

    Until `begin` there are no latents. `without` are the conditions of its second row, where it has
    one.
    """

    __slots__ = (
        "_image",
        "_mask",
        "_noise",
        "beside",
        "conditions",
        "estimate",
        "generator",
        "latents",
        "request",
        "schedule",
        "task_id",
        "without",
    )

    def __init__(
        self,
        task_id: int,
        request: PictureRequest,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        self.task_id = task_id
        self.request = request
        self.schedule = schedule
        self.generator = generator
        self.latents: Tensor | None = None
        #: Where it leads, for a preview, after each step for which one is due.
        self.estimate: Tensor | None = None
        #: What the network sees beside the latents, where it does: [1, channels, h, w].
        self.beside: Tensor | None = None
        self.conditions: Conditions = ()
        self.without: Conditions | None = None
        self._image: Tensor | None = None
        self._noise: Tensor | None = None
        self._mask: Tensor | None = None

    @property
    def num_rows(self) -> int:
        """How many rows of a batch it takes."""
        return 1 if self.without is None else 2

    @property
    def is_done(self) -> bool:
        """Whether its latents are final."""
        return self.latents is not None and self.schedule.is_done

    def begin(self, noise: Tensor, image: Tensor | None = None, mask: Tensor | None = None) -> None:
        """Take the first latents: of noise, and of the image that it starts from.

        `mask` [1, 1, h, w] is 1 where the image is drawn anew, and 0 where it stays.
        """
        self.latents = self.schedule.start(noise, image)
        if mask is not None:
            self._image, self._noise, self._mask = image, noise, mask

    def advance(self, prediction: Tensor) -> None:
        """Take one step with what the network said [1, channels, h, w]."""
        assert self.latents is not None, repr(self)
        self.estimate = None
        if self._wants_estimate():
            self.estimate = self.schedule.estimate(prediction, self.latents)
        self.latents = self.schedule.step(prediction, self.latents)
        if self._mask is None or self._image is None or self._noise is None:
            return
        kept = self._image
        if not self.schedule.is_done:
            kept = self.schedule.noised(kept, self._noise)
        self.latents = (1 - self._mask) * kept + self._mask * self.latents

    def _wants_estimate(self) -> bool:
        """Say whether a preview is due after the next step; the last one gives the picture."""
        every, done = self.request.preview_every, self.schedule.index + 1
        return every > 0 and done % every == 0 and done < self.schedule.num_steps

    def __repr__(self) -> str:
        """Say where it stands."""
        request, schedule = self.request, self.schedule
        size = f"{request.width} x {request.height}"
        return f"<Picture {self.task_id}: {size}, step {schedule.index} of {schedule.num_steps}>"
