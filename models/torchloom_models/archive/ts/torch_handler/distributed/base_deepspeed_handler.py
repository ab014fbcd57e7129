"""`ts.torch_handler.distributed.base_deepspeed_handler`."""

from __future__ import annotations

import abc
import os
from typing import Any

import torch

from torchloom_models.archive.ts.torch_handler.base_handler import BaseHandler


class BaseDeepSpeedHandler(BaseHandler, abc.ABC):
    """A handler whose processes hold the parts of a model that DeepSpeed has cut."""

    def initialize(self, ctx: Any) -> None:
        """Let each process have its device: a number, or the CPU. Opens no model."""
        self.context = ctx
        has_gpu = torch.cuda.is_available()
        self.device = int(os.environ.get("LOCAL_RANK", "0")) if has_gpu else torch.device("cpu")
