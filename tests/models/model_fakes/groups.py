"""Archives whose workers are several processes, with handlers as TorchServe's users write them."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import torch
import yaml

from model_fakes.archives import make_mar


#: A linear layer, of which each process holds some columns; what they have computed is summed up.
ROW_PARALLEL = """\
import torch
import torch.distributed as dist


class RowParallelLinear(torch.nn.Module):
    def __init__(self, weight, bias, rank, size):
        super().__init__()
        self.weight = torch.nn.Parameter(weight.chunk(size, dim=1)[rank].clone())
        self.bias = torch.nn.Parameter(bias.clone())
        self.rank, self.size = rank, size

    def forward(self, rows):
        part = rows.chunk(self.size, dim=1)[self.rank] @ self.weight.T
        dist.all_reduce(part)
        return part + self.bias
"""

#: Its handler.
SPLIT_LINEAR = """\
import json
import os

import torch
import torch.distributed as dist

from row_parallel import RowParallelLinear
from ts.torch_handler.base_handler import BaseHandler


class SplitHandler(BaseHandler):
    def initialize(self, ctx):
        self.rank = int(os.environ["RANK"])
        self.local_rank = int(os.environ["LOCAL_RANK"])
        self.world_size = int(os.environ["WORLD_SIZE"])
        dist.init_process_group("gloo")
        model_dir = ctx.system_properties.get("model_dir")
        state = torch.load(os.path.join(model_dir, "linear.pt"), weights_only=True)
        self.model = RowParallelLinear(state["weight"], state["bias"], self.rank, self.world_size)
        self.model.eval()
        self.pids = [None] * self.world_size
        dist.all_gather_object(self.pids, os.getpid())
        self.initialized = True

    def preprocess(self, requests):
        bodies = [row.get("data") or row.get("body") for row in requests]
        rows = [body if isinstance(body, list) else json.loads(body) for body in bodies]
        return torch.tensor(rows, dtype=torch.float32)

    def inference(self, rows):
        if self.rank == 1 and rows[0][0] == 13:
            raise ValueError("an unlucky number")
        if rows[0][0] == 13:
            return rows
        if self.rank == 1 and rows[0][0] == 99:
            torch.distributed.recv(torch.zeros(1), src=0)
        with torch.inference_mode():
            return self.model(rows)

    def postprocess(self, outputs):
        return [
            {"y": row, "pids": self.pids, "rank": self.rank, "threads": torch.get_num_threads()}
            for row in outputs.tolist()
        ]
"""

#: A pipeline of two: the first process asks the second one for its half.
PIPELINE = """\
import os

import torch
import torch.distributed.rpc as rpc

from ts.torch_handler.distributed.base_pippy_handler import BasePippyHandler


def second_half(rows):
    return rows + 1, os.getpid()


class PipelineHandler(BasePippyHandler):
    def initialize(self, ctx):
        super().initialize(ctx)
        self.calls = 0
        self.initialized = True

    def handle(self, data, context):
        assert self.local_rank == 0
        self.calls += 1
        rows = torch.tensor([row.get("data") or row.get("body") for row in data]) * 2.0
        rows, pid = rpc.rpc_sync("worker1", second_half, (rows,))
        return [{"y": y, "pids": [os.getpid(), pid]} for y in rows.tolist()]
"""

#: A handler of DeepSpeed, which is not installed where these tests run.
DEEPSPEED = """\
import torch

from ts.handler_utils.distributed.deepspeed import get_ds_engine
from ts.torch_handler.distributed.base_deepspeed_handler import BaseDeepSpeedHandler


class DeepSpeedHandler(BaseDeepSpeedHandler):
    def initialize(self, ctx):
        super().initialize(ctx)
        self.model = get_ds_engine(torch.nn.Identity(), ctx).module
        self.initialized = True
"""

#: Tells where it runs.
PLACE = """\
import os


class Place:
    def initialize(self, context):
        self.context = context
        if "WORLD_SIZE" in os.environ:
            import torch.distributed as dist

            dist.init_process_group("gloo")
            dist.barrier()

    def handle(self, data, context):
        mine = {"pid": os.getpid(), "gpu_id": context.system_properties.get("gpu_id")}
        return [{**os.environ, **mine} for _ in data]
"""

#: Its first process has something to put away, which it does when the other one has ended.
TIDY = """\
import atexit
import os
import time
from pathlib import Path

import torch.distributed as dist


class Tidy:
    def initialize(self, context):
        dist.init_process_group("gloo")
        pids = [None, None]
        dist.all_gather_object(pids, os.getpid())
        self.other = Path("/proc", str(pids[1]))
        self.file = Path(context.model_yaml_config["handler"]["file"])
        if os.environ["RANK"] == "0":
            atexit.register(self.put_away)

    def put_away(self):
        while self.other.exists():
            time.sleep(0.01)
        self.file.touch()

    def handle(self, data, context):
        return [None] * len(data)
"""

#: One of its processes does something else as it loads, as `handler` of its configuration says.
UNEVEN = """\
import os
import signal
import time
from pathlib import Path

import torch.distributed as dist


class Uneven:
    def initialize(self, context):
        wish = context.model_yaml_config["handler"]
        folder = Path(wish["folder"])
        rank = os.environ["RANK"]
        (folder / f"pid-{os.getpid()}").touch()
        if rank == str(wish["rank"]):
            if wish["what"] == "raise":
                raise OSError("no disk on this one")
            if wish["what"] == "be killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if wish["what"] == "hang" or (wish["what"] == "hang once" and self.takes(folder)):
                time.sleep(3600)
        dist.init_process_group("gloo")

    def takes(self, folder):
        try:
            (folder / "hang").unlink()
        except FileNotFoundError:
            return False
        return True

    def handle(self, data, context):
        return [os.getpid()] * len(data)
"""

#: The model of `SPLIT_LINEAR`.
WEIGHT = torch.arange(12.0).reshape(3, 4)
BIAS = torch.tensor([0.5, 1.5, 2.5])


def linear_file() -> bytes:
    """Save the weights."""
    buffer = io.BytesIO()
    torch.save({"weight": WEIGHT, "bias": BIAS}, buffer)
    return buffer.getvalue()


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, which may be about to end."""
    for _ in range(3000):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.01)
    return True


def launcher_of(pid: int) -> int:
    """Give the process that has started one of a group's."""
    launcher = psutil.Process(pid).parent()
    assert launcher is not None
    assert "torchloom_models.group.launch" in launcher.cmdline()
    return launcher.pid


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupServer:
    """A server in a folder, with what asks it."""

    folder: Path
    inference: httpx.Client
    management: httpx.Client

    def make(
        self,
        name: str,
        handler: str,
        config: Mapping[str, object] | None = None,
        **parallel: object,
    ) -> None:
        """Write an archive into the model store: two processes on the CPU, unless more is said."""
        said = {
            "minWorkers": 1,
            "maxWorkers": 4,
            "batchSize": 4,
            "maxBatchDelay": 50,
            "parallelType": "tp",
            "deviceType": "cpu",
            "torchrun": {"nproc-per-node": 2, "OMP_NUMBER_THREADS": 1},
            **(config or {}),
            **parallel,
        }
        files: dict[str, str | bytes] = {f"{name}.py": handler}
        files |= {
            "model-config.yaml": yaml.safe_dump(said),
            "linear.pt": linear_file(),
            "row_parallel.py": ROW_PARALLEL,
        }
        make_mar(self.folder / "models", name, f"{name}.py", files)

    def register(self, name: str) -> httpx.Response:
        """Register an archive, with a worker."""
        return self.management.post(f"/models?url={name}.mar&initial_workers=1")

    def ask(self, name: str, body: str = "[1, 2, 3, 4]") -> dict[str, object]:
        """Ask a model that is there."""
        answer = self.inference.post(
            f"/predictions/{name}", content=body, headers={"Content-Type": "application/json"}
        )
        found: dict[str, object] = answer.raise_for_status().json()
        return found

    def wait_up(self, name: str, body: str = "[1, 2, 3, 4]") -> None:
        """Ask a model until its worker, which has been killed, is there again."""
        path = f"/predictions/{name}"
        json = {"Content-Type": "application/json"}
        while self.inference.post(path, content=body, headers=json).status_code in (500, 503):
            time.sleep(0.05)

    def log(self, text: str) -> str:
        """Give the server's log, once a text is in it: it is written a little later."""
        for _ in range(6000):
            told = (self.folder / "logs" / "ts_log.log").read_text()
            if text in told:
                return told
            time.sleep(0.01)
        message = f"{text!r} is not in {told}"
        raise AssertionError(message)

    def pids(self, name: str) -> list[int]:
        """Give the processes of a worker of `SPLIT_LINEAR`."""
        pids = self.ask(name)["pids"]
        assert isinstance(pids, list)
        return pids
