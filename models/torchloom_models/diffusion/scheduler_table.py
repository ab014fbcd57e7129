"""The schedulers that a caller may name, as data. Imports no framework, and makes none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal


#: What a network was trained to undo: noise that is added, or a straight flow from noise.
Noise = Literal["diffusion", "flow"]


@dataclass(frozen=True, slots=True)
class SchedulerEntry:
    """A diffusers scheduler: its class, what is changed in its configuration, and its noise."""

    class_name: str
    options: Mapping[str, object] = field(default_factory=dict)
    noise: Noise = "diffusion"


#: By the name that callers use. The folder's own scheduler needs no name.
SCHEDULERS: Mapping[str, SchedulerEntry] = MappingProxyType(
    {
        "ddim": SchedulerEntry("DDIMScheduler"),
        "ddpm": SchedulerEntry("DDPMScheduler"),
        "dpm++": SchedulerEntry(
            "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}
        ),
        "dpm++_karras": SchedulerEntry(
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
        ),
        "dpm++_sde": SchedulerEntry(
            "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
        ),
        "euler": SchedulerEntry("EulerDiscreteScheduler"),
        "euler_a": SchedulerEntry("EulerAncestralDiscreteScheduler"),
        "heun": SchedulerEntry("HeunDiscreteScheduler"),
        "lcm": SchedulerEntry("LCMScheduler"),
        "pndm": SchedulerEntry("PNDMScheduler", {"skip_prk_steps": True}),
        "tcd": SchedulerEntry("TCDScheduler"),
        "unipc": SchedulerEntry("UniPCMultistepScheduler"),
        "flow_euler": SchedulerEntry("FlowMatchEulerDiscreteScheduler", noise="flow"),
        "flow_heun": SchedulerEntry("FlowMatchHeunDiscreteScheduler", noise="flow"),
    }
)
