"""Runs every benchmark, one after another: `python -m benchmarks [NAME …] [OPTION …]`.

Options go to the benchmarks that are named.
"""

from __future__ import annotations

import itertools
import subprocess
import sys


NAMES = (
    "orchestration",
    "embedder",
    "compilation",
    "openvino_route",
    "attention_layout",
    "huge_pages",
    "llm",
    "llm_load",
    "decode_floor",
    "openvino_llm",
    "chunked_prefill",
    "prefix_cache",
    "prompt_lookup",
    "draft_model",
    "lora",
    "rag",
    "pictures",
    "multi_image",
    "replicas",
    "startup",
    "torchserve",
    "gpu",
)

#: What a benchmark is told where all are run.
_AMONG_ALL = {"gpu": ["--if-there"]}


def main() -> int:
    """Run those that are named, or all; the exit code is the number that failed."""
    arguments = sys.argv[1:]
    options = list(itertools.dropwhile(lambda word: not word.startswith("-"), arguments))
    named = arguments[: len(arguments) - len(options)]
    names = named or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(NAMES)}.")
        return 2
    if options and not named:
        print("Options need a benchmark's name before them.")
        return 2
    commands = [
        [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            *(options if named else _AMONG_ALL.get(name, [])),
        ]
        for name in names
    ]
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


if __name__ == "__main__":
    sys.exit(main())
