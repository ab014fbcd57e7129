"""The table of schedulers: every name stands for a class that diffusers has."""

from __future__ import annotations

import diffusers
import pytest
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from torchloom_models.diffusion.field import KNOBS
from torchloom_models.diffusion.scheduler_table import SCHEDULERS


@pytest.mark.parametrize("name", SCHEDULERS)
def test_names_schedulers_of_diffusers(name: str) -> None:
    """Classes are diffusers' schedulers; those for flows know no betas."""
    entry = SCHEDULERS[name]
    of = getattr(diffusers, entry.class_name)

    assert issubclass(of, SchedulerMixin)
    assert hasattr(of(), "alphas_cumprod") == (entry.noise == "diffusion")


def test_is_what_callers_may_name() -> None:
    """The published list is the table's."""
    assert KNOBS["scheduler"]["enum"] == sorted(SCHEDULERS)
