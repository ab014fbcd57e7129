"""GroupPlan: what a model file says of the processes of a worker, and the program that starts them.

Imports no framework and starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Self, get_args

import msgspec

from torchloom.signature import Schema


#: `custom` is one process, which is shown as many GPUs as its level says. Of the others, `pp` has
#: tasks for its first process alone; the rest are told of by what the first one sends them.
ParallelType = Literal["pp", "tp", "pptp", "custom"]

#: The most processes of a worker.
MAX_LEVEL: Final = 64

#: Keys of `torchrun` → its options; what is not said is left to torchrun.
TORCHRUN: Final[Mapping[str, str]] = {
    "nnodes": "--nnodes",
    "rdzv-backend": "--rdzv-backend",
    "rdzv-endpoint": "--rdzv-endpoint",
    "rdzv-conf": "--rdzv-conf",
    "rdzv-id": "--rdzv-id",
    "monitor-interval": "--monitor-interval",
    "node-rank": "--node-rank",
    "master-addr": "--master-addr",
    "master-port": "--master-port",
}

#: How many threads each process has, by the name that TorchServe has for it.
THREADS: Final = "OMP_NUMBER_THREADS"

_VALUE: Schema = {"type": ["string", "integer", "number"]}

FIELD: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": list(get_args(ParallelType))},
        "level": {"type": "integer", "minimum": 1, "maximum": MAX_LEVEL},
        "gpus": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": "In groups of `level`, each of which a device names by its first.",
        },
        "torchrun": {
            "type": "object",
            "properties": {
                **dict.fromkeys(TORCHRUN, _VALUE),
                THREADS: {"type": "integer", "minimum": 1},
            },
            "additionalProperties": False,
        },
    },
    "required": ["type", "level"],
    "additionalProperties": False,
    "description": "A worker is so many processes, which work on each request together.",
}


class GroupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How many processes a worker has, and how they are started. Travels as JSON."""

    type: ParallelType
    level: int
    gpus: tuple[int, ...] = ()
    torchrun: dict[str, str | int | float] = {}

    @classmethod
    def read(cls, config: Mapping[str, object]) -> Self | None:
        """Read a model file's `parallel`; None where it has none."""
        said = config.get("parallel")
        return None if said is None else msgspec.convert(said, cls)

    @property
    def is_group(self) -> bool:
        """Tell whether there is more than one process."""
        return self.type != "custom"

    @property
    def shares_tasks(self) -> bool:
        """Tell whether every process gets every task."""
        return self.type in ("tp", "pptp")

    def gpus_of(self, first: int) -> tuple[int, ...]:
        """Give the GPUs of the worker whose first one this is: as they are listed, or by number."""
        if first not in self.gpus:
            return tuple(range(first, first + self.level))
        start = self.gpus.index(first)
        return self.gpus[start : start + self.level]

    def threads_of(self, share: int) -> int:
        """Give how many threads each process has, of a worker that has a share of the cores."""
        said = self.torchrun.get(THREADS)
        return int(said) if said is not None else max(share // self.level, 1)

    @property
    def is_on_one_machine(self) -> bool:
        """Tell whether a worker has all of its processes here."""
        return str(self.torchrun.get("nnodes", 1)) in ("1", "1:1")

    def to_options(self, worker: str) -> list[str]:
        """Give the options of torchrun. A worker is started again as a whole, and by others.

        `worker` is what no other worker is called. Those of one machine must not meet each other
        where they meet their own.
        """
        said = {
            name: self.torchrun[key]
            for key, name in TORCHRUN.items()
            if self.torchrun.get(key, "") != ""
        }
        has_endpoint = "--rdzv-endpoint" in said
        backend = "static" if "--master-addr" in said and not has_endpoint else "c10d"
        options = {"--rdzv-backend": backend, **said}
        if self.is_on_one_machine:
            if options["--rdzv-backend"] == "c10d" and not has_endpoint:
                options |= {"--rdzv-endpoint": "localhost:0", "--local-addr": "127.0.0.1"}
            options = {"--rdzv-id": worker, **options}
        options |= {"--nproc-per-node": self.level, "--max-restarts": 0}
        return [f"{name}={value}" for name, value in options.items()]


def program_of(config: Mapping[str, object]) -> tuple[str, ...]:
    """Give the program of a model's workers (see Deployment), where it is not the usual one."""
    plan = GroupPlan.read(config)
    if plan is None:
        return ()
    text = msgspec.json.encode(plan).decode()
    module = "launch" if plan.is_group else "rank"
    return f"torchloom_models.group.{module}", text
