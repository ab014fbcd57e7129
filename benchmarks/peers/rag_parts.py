"""The parts of the RAG example, called one after another in one process, without server or queue.

`python -m benchmarks.peers.rag_parts WORKFLOW STORE` reads {"questions": […]} and answers
{"seconds"} for all of them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import networkx as nx

from benchmarks.peers.engine import drive
from torchloom.device import Device
from torchloom.engine import Engine
from torchloom.graph import Graph, ModelCall
from torchloom.orchestrator import Orchestrator
from torchloom.worker import import_factory
from torchloom_api.reader import Reader
from torchloom_api.settings import Settings


def answer(graph: Graph, engines: dict[str, Engine], question: str) -> None:
    """Call the engine of each node in order."""
    scope: dict[str, object] = {"inputs": graph.with_defaults({"question": question})}
    for name in nx.topological_sort(graph.dag):
        node = graph.nodes[name]
        assert isinstance(node.call, ModelCall)
        inputs = {key: value.evaluate(scope) for key, value in node.inputs.items()}
        params = {key: value.evaluate(scope) for key, value in node.params.items()}
        (scope[name],) = drive(engines[node.call.model], [{"inputs": inputs, "params": params}])
    for binding in graph.outputs.values():
        binding.evaluate(scope)


def main() -> None:
    """Answer until standard input ends."""
    file, store = Path(sys.argv[1]), sys.argv[2]
    reader = Reader(Settings(store=store))
    draft = reader.read_workflow(file.read_text("utf-8"), file, Orchestrator())
    engines = {
        model.name: import_factory(model.factory)(model.config, Device("cpu"), lambda *_: None)
        for model in draft.models
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for question in json.loads(line)["questions"]:
            answer(draft.graph, engines, question)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
