"""How fast this machine reads memory: `python -m benchmarks.peers.bandwidth`.

Reads {"seconds"}: sums a gibibyte again and again, on all cores; answers {"bytes_per_s"}. It lies
in huge pages, as a worker's weights do.
"""

from __future__ import annotations

import json
import sys
import time

import torch

from torchloom import huge_pages


_SIZE = 1 << 30


def main() -> None:
    """Answer until standard input ends."""
    numbers = torch.ones(_SIZE // 4, dtype=torch.float32)
    huge_pages.gather()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        seconds = json.loads(line)["seconds"]
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            numbers.sum()
            count += 1
        took_s = time.perf_counter() - began
        print(json.dumps({"bytes_per_s": count * _SIZE / took_s}), flush=True)


if __name__ == "__main__":
    main()
