"""A worker of several processes: starts them by torchrun, and is what the executor sees of them.

Run as `python -m torchloom_models.group.launch PLAN FD`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback

import msgspec

from torchloom.worker_process import die_with_parent
from torchloom_models.group.host import Host
from torchloom_models.group.plan import GroupPlan


def main() -> None:
    """Start the processes, and end when they have."""
    text, number = sys.argv[1:]
    plan = msgspec.json.decode(text, type=GroupPlan)
    die_with_parent()
    # They reach the whole process group, and torchrun would end the processes: the server decides
    # when workers end. The processes are started so as well, and unblock them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    host = Host(socket.socket(fileno=int(number)), plan.level)
    host.start()
    threads = plan.threads_of(int(os.environ.get("OMP_NUM_THREADS", "1")))
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    from torch.distributed import run  # noqa: PLC0415 - costs seconds; the host is there before

    program = ["-m", "torchloom_models.group.rank", text, host.address]
    try:
        run.main([*plan.to_options(f"torchloom-{os.getpid()}"), *program])
    except (Exception, SystemExit) as error:  # noqa: BLE001 - torchrun may raise anything
        traceback.print_exc()
        host.tell_broken(
            "torchrun did not start the processes of a worker; the log says more: "
            f"{type(error).__name__}: {error}"
        )
    host.end(1)


if __name__ == "__main__":
    main()
