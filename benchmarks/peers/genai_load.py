"""A peer under a load of text: openvino-genai's continuous batching, step by step.

`python -m benchmarks.peers.genai_load FOLDER DTYPE`; see `token_load` and `genai_batching`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openvino_genai

from benchmarks.peers.genai_batching import config_of, open_converted
from benchmarks.peers.token_load import Tell, serve


class Genai:
    """Drives a pipeline."""

    def __init__(self, pipeline: openvino_genai.ContinuousBatchingPipeline) -> None:
        self._pipeline = pipeline
        self._left: dict[int, tuple[openvino_genai.GenerationHandle, int]] = {}

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        handle = self._pipeline.add_request(number, prompt, config_of({"max_tokens": tokens}))
        self._left[number] = handle, tokens

    def step(self, tell: Tell) -> None:
        """Step once, and read what each request has got."""
        self._pipeline.step()
        for number, (handle, left) in list(self._left.items()):
            if not handle.can_read():
                continue
            new = sum(len(output.generated_ids) for output in handle.read().values())
            for place in range(new):
                tell(number, place == left - 1)
            self._left[number] = handle, left - new
            if left == new:
                del self._left[number]


def main() -> None:
    """Serve it."""
    serve(Genai(open_converted(Path(sys.argv[1]), sys.argv[2])))


if __name__ == "__main__":
    main()
