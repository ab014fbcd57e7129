"""TorchLoom's own engine under a load of text, in process as its rivals are: no server, no HTTP.

`python -m benchmarks.peers.engine_load CONFIG [DEVICE]`; see `token_load`.
"""

from __future__ import annotations

import json
import sys

from benchmarks.peers.engine import open_like_worker
from benchmarks.peers.token_load import Tell, serve
from torchloom.engine import Chunk, Engine, Failure, Result, Work


class EngineLoad:
    """Drives an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
        self._engine.admit(Work(number, {"prompt": prompt}, params))

    def step(self, tell: Tell) -> None:
        """Step once; a token comes as a chunk, the last of them with the end."""
        events = self._engine.step()
        for event in events:
            if isinstance(event, Failure):
                raise event.error
        written = {event.task_id for event in events if isinstance(event, Chunk)}
        ended = {event.task_id for event in events if isinstance(event, Result)}
        for number in sorted(written | ended):
            tell(number, number in ended)


def main() -> None:
    """Serve it."""
    device = sys.argv[2] if len(sys.argv) > 2 else "openvino:CPU"
    factory = "torchloom_models.llm.opening:open_engine"
    serve(EngineLoad(open_like_worker(factory, json.loads(sys.argv[1]), device)))


if __name__ == "__main__":
    main()
