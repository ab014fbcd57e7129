"""`ts.torch_handler.distributed.base_pippy_handler`."""

from __future__ import annotations

import abc
import os
from typing import Any

import torch

from torchloom_models.archive.ts.handler_utils.distributed.pt_pippy import initialize_rpc_workers
from torchloom_models.archive.ts.torch_handler.base_handler import BaseHandler


class BasePippyHandler(BaseHandler, abc.ABC):
    """A handler whose processes call each other: the stages of a pipeline."""

    def initialize(self, ctx: Any) -> None:
        """Let each process have its place and its device, and reach the others. Opens no model."""
        self.context = ctx
        self.local_rank = int(os.environ["LOCAL_RANK"])
        self.world_size = int(os.environ["WORLD_SIZE"])
        num_devices = torch.cuda.device_count()
        self.device = self.local_rank % num_devices if num_devices else torch.device("cpu")
        initialize_rpc_workers(self.local_rank, self.world_size, ctx)
