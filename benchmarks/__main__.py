"""Runs every benchmark, one after another: `python -m benchmarks [NAME …]`."""

from __future__ import annotations

import subprocess
import sys


NAMES = (
    "orchestration",
    "embedder",
    "compilation",
    "openvino_route",
    "llm",
    "openvino_llm",
    "rag",
    "pictures",
    "multi_image",
    "replicas",
    "startup",
)


def main() -> int:
    """Run those that are named, or all; the exit code is the number that failed."""
    names = sys.argv[1:] or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(NAMES)}.")
        return 2
    commands = [[sys.executable, "-m", f"benchmarks.{name}"] for name in names]
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main())
