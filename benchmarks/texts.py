"""The texts that benchmarks embed: the passages of the RAG example's handbook."""

from __future__ import annotations

from pathlib import Path


HANDBOOK = Path(__file__).parents[1] / "examples" / "rag" / "handbook"


def passages() -> list[str]:
    """Give the handbook's passages, in order."""
    blocks = [
        block.strip()
        for path in sorted(HANDBOOK.glob("*.md"))
        for block in path.read_text("utf-8").split("\n\n")
    ]
    return [block for block in blocks if block and not block.startswith("#")]
