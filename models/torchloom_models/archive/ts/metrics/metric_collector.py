"""`ts.metrics.metric_collector`: the script that prints what the host is at, once."""

from __future__ import annotations

import argparse
import logging
import sys

from torchloom_models.archive.ts.metrics import system_metrics
from torchloom_models.archive.ts.metrics.process_memory_metric import check_process_mem_usage


def main() -> None:
    """Print metrics of the host, an empty line, and the memory of processes named on stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", type=int, help="number of GPUs")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    system_metrics.collect_all(system_metrics, arguments.gpu)
    check_process_mem_usage(sys.stdin)


if __name__ == "__main__":
    main()
