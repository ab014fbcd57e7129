"""StepBatch: rows of pictures at their own timesteps, and predictions back to pictures."""

from __future__ import annotations

import pytest
import torch
from tiny_pipeline import make_ddim

from torchloom.errors import BatchContractError
from torchloom_models.diffusion.picture import Picture
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.schedule import Schedule
from torchloom_models.diffusion.step_batch import StepBatch, by_size


def picture(task_id: int, *, guidance: float = 1.0, num_steps: int = 4, width: int = 16) -> Picture:
    """Give a picture whose latents, and whose condition, are its id everywhere."""
    request = PictureRequest(
        prompt="red", seed=0, num_steps=num_steps, guidance=guidance, width=width, height=16
    )
    generator = torch.Generator()
    of = Picture(task_id, request, Schedule(make_ddim(), request, generator, {}), generator)
    of.begin(torch.full((1, 4, 8, width // 2), float(task_id)))
    of.conditions = (torch.full((3,), float(task_id)),)
    of.without = (torch.zeros(3),) if guidance > 1 else None
    return of


def test_gives_two_rows_to_pictures_with_guidance() -> None:
    """Rows stand picture by picture: with the prompt, then without."""
    batch = StepBatch([picture(1, guidance=3.0), picture(2, num_steps=2)])

    latents, timesteps, conditions = batch.arguments()

    assert latents[:, 0, 0, 0].tolist() == [1, 1, 2]
    assert timesteps.tolist() == [751, 751, 501]
    assert conditions[:, 0].tolist() == [1, 0, 2]


def test_shows_the_network_what_lies_beside_the_latents() -> None:
    """A mask and an image that a network sees are further channels of both rows."""
    of = picture(1, guidance=3.0)
    of.beside = torch.full((1, 5, 8, 8), 7.0)

    latents = StepBatch([of]).arguments()[0]

    assert latents.shape == (2, 9, 8, 8)
    assert latents[:, 4:].unique().tolist() == [7]


def test_guides_each_picture_by_its_own_number() -> None:
    """The prediction of a picture is its own row, or lies on the line through both of its rows."""
    batch = StepBatch([picture(1), picture(2, guidance=3.0), picture(3, guidance=2.0)])
    rows = torch.tensor([10.0, 20.0, 5.0, 30.0, 40.0])[:, None, None, None]

    predictions = batch.split(rows)

    assert [float(each) for each in predictions] == [10.0, 5 + 3 * 15, 40 + 2 * -10]


def test_refuses_a_prediction_of_other_rows() -> None:
    """Rows that are missing must not become another picture's."""
    with pytest.raises(BatchContractError, match="1 rows for 3"):
        StepBatch([picture(1), picture(2, guidance=3.0)]).split(torch.zeros(1, 4, 8, 8))


def test_puts_pictures_of_one_size_together() -> None:
    """Groups keep the order of coming."""
    pictures = [picture(1), picture(2, width=32), picture(3), picture(4, width=32)]

    groups = by_size(pictures)

    assert [[each.task_id for each in group] for group in groups] == [[1, 3], [2, 4]]
