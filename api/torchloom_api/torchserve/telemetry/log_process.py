"""The process that writes a server's logs: `python -m …log_process ORDER`.

It ends when its server does, however that ends, and has written then all that it was sent: signals
that reach the server's group or its container are for the server alone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Final

import msgspec

from torchloom_api.torchserve.telemetry.log_batch import read_batches
from torchloom_api.torchserve.telemetry.log_order import LogOrder
from torchloom_api.torchserve.telemetry.log_writer import LogWriter


#: Lines may wait for requests, but no request for lines.
_NICENESS: Final = 10


def main() -> None:
    """Write what comes by standard input, until it is closed."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    os.nice(_NICENESS)
    logging.basicConfig(format="%(levelname)s - %(message)s")
    plan, _ = msgspec.json.decode(sys.argv[1], type=LogOrder).plan()
    with LogWriter(plan) as writer:
        for batch in read_batches(sys.stdin.buffer):
            writer.write(batch.events, num_lost=batch.num_lost)


if __name__ == "__main__":
    main()
