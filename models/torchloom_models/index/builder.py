"""Build an index: read documents, cut them, embed the passages, and put them in a store at once.

Knows no kind of store and no model: `embed` is given. Holds one batch of passages at a time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from torchloom.errors import Fault, InvalidInput, ModelLoadError
from torchloom_models.index.chunker import Chunk, Chunker, ChunkPolicy
from torchloom_models.index.page import Leaf, Page, find_leaves, read_pages
from torchloom_models.index.passage import (
    Batch,
    Facts,
    Metric,
    Passage,
    check_passage,
    to_vectors,
)
from torchloom_models.index.store import Store


#: Turns texts into vectors, [texts, dimension], in the same order.
Embed = Callable[[list[str]], np.ndarray]

#: Told how many passages are done, and how many there are.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What an index is built from, and how it is cut.

    `places` are files, folders and glob patterns, relative to `base`. `length` measures a text in
    the policy's unit; characters need none.
    """

    places: Sequence[str | Path]
    base: Path = field(default_factory=Path)
    policy: ChunkPolicy = field(default_factory=ChunkPolicy)
    length: Callable[[str], int] = len


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did. A passage is kept when the old index held it under the same id."""

    num_files: int
    num_passages: int
    num_added: int
    num_kept: int
    num_removed: int
    dimension: int
    duration_s: float


def build_index(
    documents: Documents,
    embed: Embed,
    store: Store,
    on_progress: OnProgress | None = None,
    *,
    embedder: str | None = None,
    metric: Metric = "cosine",
    batch_size: int = 64,
) -> BuildReport:
    """Build the index anew; the old one serves until the new one takes its place in one step.

    All documents are read and checked before the first text is embedded. Raises InvalidInput with
    every fault found in them, and for vectors that are no good; IndexBusy if another build goes on;
    whatever `embed` raises. However it ends early, the old index stays.
    """
    started = time.monotonic()
    leaves = find_leaves(documents.places, documents.base)
    total = _check(leaves, documents)
    old = _ids(store)
    new: set[str] = set()
    report = on_progress or (lambda _done, _total: None)
    report(0, total)
    batches = _embed(_passages(leaves, documents, []), embed, batch_size)
    first = next(batches)
    facts = Facts(dimension=first.vectors.shape[1], metric=metric, embedder=embedder)

    def told() -> Iterator[Batch]:
        for batch in chain([first], batches):
            to_vectors(batch.vectors, facts=facts, of="The embedder's vectors")
            yield batch
            new.update(passage.id for passage in batch.passages)
            report(len(new), total)

    count = store.replace(told(), facts)
    return BuildReport(
        num_files=len(leaves),
        num_passages=count,
        num_added=len(new - old),
        num_kept=len(new & old),
        num_removed=len(old - new),
        dimension=facts.dimension,
        duration_s=time.monotonic() - started,
    )


def _check(leaves: Sequence[Leaf], documents: Documents) -> int:
    """Read everything once; give the number of passages, or raise with all faults."""
    faults: list[Fault] = []
    total = sum(1 for _ in _passages(leaves, documents, faults))
    if faults:
        count = "One fault" if len(faults) == 1 else f"{len(faults)} faults"
        message = f"{count} in the documents; the index is as it was. {faults[0]}"
        raise InvalidInput(message, faults=faults)
    if total == 0:
        names = ", ".join(leaf.name for leaf in leaves[:3])
        raise InvalidInput(f"The documents ({names}) hold no text at all; the index is as it was.")
    return total


def _ids(store: Store) -> set[str]:
    try:
        return store.ids()
    except ModelLoadError:  # there is none yet, or none that can be read: it is made anew
        return set()


def _passages(
    leaves: Sequence[Leaf], documents: Documents, faults: list[Fault]
) -> Iterator[Passage]:
    chunker = Chunker(documents.policy, documents.length)
    seen: set[str] = set()
    places = {leaf.name: str(leaf.path) for leaf in leaves}
    for page in read_pages(leaves, faults):
        cut = chunker.cut_markdown if page.is_markdown else chunker.cut_plain
        chunks = list(cut(page.text))
        for number, chunk in enumerate(chunks, 1):
            own = page.id if len(chunks) == 1 else f"{page.id}#{number}"
            try:
                passage = _passage(page, chunk, own if page.id is not None else None, seen)
                check_passage(passage)
            except InvalidInput as error:
                line = _line(page, chunk)
                faults.append(Fault(message=str(error), file=places[page.source], line=line))
                continue
            seen.add(passage.id)
            yield passage


def _passage(page: Page, chunk: Chunk, own_id: str | None, seen: set[str]) -> Passage:
    """Make a passage. Its id follows from what it says and where it stands, not from its number.

    So a build after a change replaces what changed, and keeps the ids of all else.
    """
    place = {"source": page.source, "title": chunk.title, "section": chunk.section}
    metadata: dict[str, object] = {key: value for key, value in place.items() if value}
    metadata |= {"line": _line(page, chunk), **page.metadata}
    if own_id is not None:
        if own_id in seen:
            raise InvalidInput(f"The id {own_id!r} is there twice; ids name one passage each.")
        return Passage(id=own_id, text=chunk.text, metadata=metadata)
    content = f"{chunk.title}\0{chunk.section}\0{chunk.text}"
    stem = f"{page.source}#{hashlib.sha256(content.encode(errors='replace')).hexdigest()[:12]}"
    names = chain([stem], (f"{stem}-{number}" for number in range(2, len(seen) + 3)))
    return Passage(
        id=next(name for name in names if name not in seen), text=chunk.text, metadata=metadata
    )


def _line(page: Page, chunk: Chunk) -> int:
    return page.line if page.is_record else page.line + chunk.line - 1


def _embed(passages: Iterable[Passage], embed: Embed, size: int) -> Iterator[Batch]:
    waiting: list[Passage] = []
    for passage in passages:
        waiting.append(passage)
        if len(waiting) == size:
            yield _embed_batch(waiting, embed)
            waiting = []
    if waiting:
        yield _embed_batch(waiting, embed)


def _embed_batch(passages: list[Passage], embed: Embed) -> Batch:
    vectors = np.asarray(embed([passage.searchable for passage in passages]))
    if vectors.ndim != 2 or len(vectors) != len(passages):  # noqa: PLR2004 - rows by columns
        shape = "x".join(map(str, vectors.shape))
        message = f"The embedder gave an array of {shape} for {len(passages)} texts."
        raise InvalidInput(message)
    return Batch(passages, vectors)
