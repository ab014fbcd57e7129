"""DiffusionEngine: the step loop of a diffusion model. Knows no process and no network.

A step is one denoising step for every picture that is held, each at its own timestep: one call of
the network for all pictures of a size. New ones join between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from torchloom.code_status import CodeStatus
from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import TaskFailed
from torchloom_models.diffusion.picture import Picture
from torchloom_models.diffusion.picture_file import write_png
from torchloom_models.diffusion.request import PictureRequest, RequestReader
from torchloom_models.diffusion.runner import Runner
from torchloom_models.diffusion.schedule import Schedule
from torchloom_models.diffusion.step_batch import by_size
from torchloom_models.hardware import reserved_bytes


#: Makes the schedule of one picture, whose random numbers come from its own generator.
ScheduleMaker = Callable[[PictureRequest, torch.Generator], Schedule]


class DiffusionEngine:
    """Pictures that join and leave between steps, on one model."""

    def __init__(
        self,
        *,
        reader: RequestReader,
        schedule: ScheduleMaker,
        runner: Runner,
        max_pictures: int,
        device: str,
        notes: Sequence[str] = (),
    ) -> None:
        self.device = device
        self.notes = tuple(notes)
        self._reader = reader
        self._schedule = schedule
        self._runner = runner
        self._room = Room(max_tasks=max_pictures, is_continuous=True)
        self._pictures: dict[int, Picture] = {}

    def room(self) -> Room:
        """Say how many pictures it draws at once."""
        return self._room

    def admit(self, work: Work) -> None:
        """Take a request in; its first step is one of the next. Raises InvalidInput."""
        request = self._reader.read(work)
        generator = torch.Generator().manual_seed(request.seed)
        schedule = self._schedule(request, generator)
        self._pictures[work.task_id] = Picture(work.task_id, request, schedule, generator)

    def step(self) -> list[Event]:
        """Take one denoising step for each picture; give those that are done."""
        new = [picture for picture in self._pictures.values() if picture.latents is None]
        if new:
            self._runner.begin(new)
        events: list[Event] = []
        for group in by_size(self._pictures.values()):
            self._runner.step(group)
            events += self._account(group)
        return events

    def cancel(self, task_id: int) -> None:
        """Forget a picture; its place is free at once."""
        self._pictures.pop(task_id, None)

    def memory_bytes(self) -> int:
        """Give what the device's allocator holds; 0 on a CPU."""
        return reserved_bytes(self.device)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return self._runner.code_status()

    def close(self) -> None:
        """End what still compiles."""
        self._runner.close()

    @property
    def is_idle(self) -> bool:
        """Whether it draws nothing."""
        return not self._pictures

    def _account(self, pictures: Sequence[Picture]) -> list[Event]:
        """Say what came of a step: failures, and pictures that are done, decoded together."""
        events: list[Event] = []
        sound = are_finite([picture.latents for picture in pictures])
        for picture, is_sound in zip(pictures, sound, strict=True):
            if not is_sound:
                events.append(self._fail(picture))
            elif picture.estimate is not None:
                preview = self._runner.preview(picture.estimate)
                events.append(Chunk(picture.task_id, {"image": write_png(preview)}))
        done = [p for p, ok in zip(pictures, sound, strict=True) if ok and p.is_done]
        for picture, pixels in zip(done, self._runner.decode(done) if done else [], strict=True):
            self.cancel(picture.task_id)
            outputs = {"image": write_png(pixels), "seed": picture.request.seed}
            events.append(Result(picture.task_id, outputs, {"steps": picture.schedule.num_steps}))
        return events

    def _fail(self, picture: Picture) -> Failure:
        self.cancel(picture.task_id)
        schedule = picture.schedule
        message = (
            f"The latents of this picture turned to NaN or infinity in step {schedule.index} of "
            f"{schedule.num_steps}."
        )
        return Failure(picture.task_id, TaskFailed(message))

    def __repr__(self) -> str:
        """Say what it draws."""
        return f"<DiffusionEngine on {self.device}: {list(self._pictures.values())}>"


def are_finite(latents: Sequence[torch.Tensor | None]) -> list[bool]:
    """Say of each picture whether all of its latents are numbers, with one look at the device."""
    rows = torch.cat([each for each in latents if each is not None])
    return [bool(each) for each in rows.isfinite().flatten(1).all(dim=1).tolist()]
