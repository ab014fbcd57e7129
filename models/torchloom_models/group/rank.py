"""One process of a worker: the first serves the scheduler and leads, the others follow.

Run as `python -m torchloom_models.group.rank PLAN ADDRESS` by torchrun, or with the scheduler's FD
for an address where it is the only one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from torchloom import huge_pages
from torchloom.channel import Channel, Hangup, SocketChannel
from torchloom.device import Device
from torchloom.farewell import leave
from torchloom.wire import Broken, Close, Open, encode
from torchloom.worker import Worker, open_engine
from torchloom.worker_process import die_with_parent, settle_in
from torchloom_models.group.follower import FollowerChannel, follow
from torchloom_models.group.host import RANK
from torchloom_models.group.led_engine import Leader
from torchloom_models.group.plan import GroupPlan


#: The most connections that a process is given.
_MAX_CONNECTIONS: Final = 64


def main() -> None:
    """Serve, or follow, until the end."""
    text, address = sys.argv[1:]
    plan = msgspec.json.decode(text, type=GroupPlan)
    die_with_parent()
    if address.isdecimal():
        settle_in(os.environ)
        with contextlib.suppress(Hangup):
            _lead(plan, [socket.socket(fileno=int(address))])
        return
    rank = int(os.environ["LOCAL_RANK"])
    control = socket.socket(socket.AF_UNIX)
    control.connect(address)
    control.sendall(RANK.pack(rank))
    _, numbers, _, _ = socket.recv_fds(control, 1, _MAX_CONNECTIONS)
    for number in numbers:
        os.set_inheritable(number, False)
    connections = [socket.socket(fileno=number) for number in numbers]
    settle_in(os.environ)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    with contextlib.suppress(Hangup):
        if rank == 0:
            has_served = _lead(plan, connections)
        else:
            has_served = _follow(plan, rank, connections[0], control)
        if has_served:
            control.sendall(encode(Close()))
            control.detach()  # it closes with the process, whose end the host awaits


def _lead(plan: GroupPlan, connections: Sequence[socket.socket]) -> bool:
    """Serve the scheduler, with all other processes; tell whether it came to that."""
    channel, *others = [SocketChannel(each) for each in connections]
    for frame in channel.receive(wait=True):
        if isinstance(frame, Open):
            leader = Leader(others, shares_tasks=plan.shares_tasks)
            leader.open(frame)
            placed = _place(plan, frame, 0)
            engine = open_engine(placed, channel, has_own_process=True, wrap=leader.lead)
            if engine is not None:
                Worker(engine, channel, on_settled=huge_pages.gather_beside).serve()
                return True
    return False


def _follow(plan: GroupPlan, rank: int, connection: socket.socket, control: socket.socket) -> bool:
    """Do what the first process says; tell whether it came to that.

    What keeps the engine from opening, the scheduler is told.
    """
    channel: Channel = SocketChannel(connection)

    def tell(frame: Broken) -> None:
        control.sendall(encode(frame))

    for frame in channel.receive(wait=True):
        if isinstance(frame, Open):
            own = FollowerChannel(channel, tell)
            engine = open_engine(_place(plan, frame, rank), own, has_own_process=True)
            if engine is not None:
                follow(engine, channel)
                return True
    return False


def _place(plan: GroupPlan, frame: Open, rank: int) -> Open:
    """Show this process the GPUs of its worker, and let it have its own among them."""
    device = Device.parse(frame.device)
    if device.kind != "cuda":
        return frame
    gpus = plan.gpus_of(int(device.unit or 0))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(each) for each in gpus)
    return msgspec.structs.replace(frame, device=f"cuda:{rank}")


if __name__ == "__main__":
    main()
    leave()
