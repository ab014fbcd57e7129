"""StepBatch: pictures of one size as one call of the network, and its answer as one a picture.

Each is at its own timestep. A picture with guidance takes two rows. Runs no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from torchloom.errors import BatchContractError
from torchloom_models.diffusion.guidance import guide
from torchloom_models.diffusion.picture import Conditions, Picture


class StepBatch:
    """The rows of some pictures whose latents are all of one shape."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def arguments(self) -> tuple[Tensor, ...]:
        """Give latents [rows, channels, h, w], timesteps [rows], and each condition [rows, …]."""
        latents: list[Tensor] = []
        timesteps: list[float] = []
        conditions: list[Conditions] = []
        for picture in self.pictures:
            latents += [_shown(picture)] * picture.num_rows
            timesteps += [picture.schedule.timestep] * picture.num_rows
            conditions += [picture.conditions]
            conditions += [picture.without] if picture.without is not None else []
        stacked = (torch.stack(columns) for columns in zip(*conditions, strict=True))
        rows = torch.cat(latents)
        return rows, torch.tensor(timesteps, device=rows.device), *stacked

    def split(self, prediction: Tensor) -> list[Tensor]:
        """Give each picture's prediction [1, channels, h, w], guided where it has two rows.

        Raises BatchContractError for a prediction of another number of rows.
        """
        num_rows = sum(picture.num_rows for picture in self.pictures)
        if len(prediction) != num_rows:
            message = f"The network gave {len(prediction)} rows for {num_rows}."
            raise BatchContractError(message)
        found, row = [], 0
        for picture in self.pictures:
            of = prediction[row : row + 1]
            if picture.without is not None:
                of = guide(prediction[row + 1 : row + 2], of, picture.request.guidance)
            found.append(of)
            row += picture.num_rows
        return found


def by_size(pictures: Iterable[Picture]) -> list[list[Picture]]:
    """Put pictures of one size together, in the order of their coming."""
    groups: dict[tuple[int, int], list[Picture]] = {}
    for picture in pictures:
        size = (picture.request.height, picture.request.width)
        groups.setdefault(size, []).append(picture)
    return list(groups.values())


def _shown(picture: Picture) -> Tensor:
    """Give what the network is shown of a picture."""
    assert picture.latents is not None, repr(picture)
    shown = picture.schedule.scaled(picture.latents)
    return shown if picture.beside is None else torch.cat([shown, picture.beside], dim=1)
