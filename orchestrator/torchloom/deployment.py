"""Deployment: one version of one model as the scheduler sees it.

Knows no kind and opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torchloom.device import Device
from torchloom.engine import Engine
from torchloom.policy import BatchPolicy, QueuePolicy, ReplicaPolicy
from torchloom.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A named, versioned model: how to open it, where, and under which limits.

    `factory` is `package.module:function`, an EngineFactory that the worker imports; `config` is
    its argument (JSON values only). `program` is the module, with arguments, that a worker's
    process runs in place of the usual one. `is_inline` engines run in a thread of the scheduler's
    own process: for work too small to be worth a hop. `estimated_bytes` is what a worker is
    expected to hold of its device's memory, until it has told; it follows from the files, and is no
    content. A worker that does not load within `load_timeout_s`, or holds tasks and ends no step
    within `step_timeout_s`, is killed and started again; None: it may take as long as it takes.
    `session_paths` lead, in a task's params, to the name of its session: the first that is there
    counts, where the engine has sessions. `prepare`, where given, is a Preparation that the worker
    imports, for a model whose files are to be fetched first: nothing is loaded before there is room
    for what it says.
    """

    name: str
    version: int = 1
    kind: str
    factory: str
    config: Mapping[str, object] = field(default_factory=dict)
    signature: Signature = field(default_factory=Signature)
    devices: tuple[Device, ...] = (Device("auto"),)
    replicas: ReplicaPolicy = field(default_factory=ReplicaPolicy)
    batching: BatchPolicy = field(default_factory=BatchPolicy)
    queue: QueuePolicy = field(default_factory=QueuePolicy)
    params: Mapping[str, object] = field(default_factory=dict)
    threads: int | None = None
    load_timeout_s: float | None = None
    step_timeout_s: float | None = None
    session_paths: tuple[tuple[str, ...], ...] = ()
    program: tuple[str, ...] = ()
    estimated_bytes: int = field(default=0, compare=False)
    prepare: str = ""
    is_inline: bool = False

    @property
    def label(self) -> str:
        """Name and version as users write them: `llama@1`."""
        return f"{self.name}@{self.version}"


#: Tells how loading goes: what is being done, and how much of it is done (0 to 1), where known.
Report = Callable[[str, float | None], None]


class Preparation(Protocol):
    """Fetches what an engine will load. Runs in the worker; loads nothing."""

    def __call__(self, config: Mapping[str, object], report: Report) -> int:
        """Give the bytes that the engine is expected to hold. Raises ModelLoadError."""
        ...


class EngineFactory(Protocol):
    """Opens an engine: loads, compiles and warms it up, and returns it ready to serve.

    Runs in the worker, on the thread that will drive the engine. Raises ModelLoadError,
    InvalidModel or DeviceUnavailable; reports progress for whatever takes more than a second.
    """

    def __call__(self, config: Mapping[str, object], device: Device, report: Report) -> Engine:
        """Open it on `device`, which may be `auto`."""
        ...
