"""A build is whole or not at all, and building again changes only what changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from torchloom.errors import InvalidInput
from torchloom_models.index.builder import BuildReport, Documents, build_index
from torchloom_models.index.chunker import ChunkPolicy
from torchloom_models.index.passage import Facts, Match
from torchloom_models.index.store import Location, Query, Store, open_store


def embed(texts: list[str]) -> np.ndarray:
    """Give each text a direction of its own."""
    seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
    return np.stack([np.random.default_rng(seed).standard_normal(8) for seed in seeds])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give a place for an index."""
    return open_store(Location(source=str(tmp_path / "built.index")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder of two pages and some records."""
    folder = tmp_path / "docs"
    folder.mkdir()
    leave = "# Leave\n\nThere are 28 days.\n\n## Parents\n\nTwelve weeks.\n"
    (folder / "leave.md").write_text(leave)
    (folder / "pay.txt").write_text("Pay is monthly.\n\nPay is monthly.\n")
    records = [{"id": "r-1", "text": "A record.", "metadata": {"year": 2024}}, {"text": "Other."}]
    (folder / "more.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


def build(folder: Path, store: Store, **options: object) -> BuildReport:
    """Build from all documents of the folder."""
    return build_index(Documents(places=["."], base=folder), embed, store, **options)  # type: ignore[arg-type]  # passed on


def all_of(store: Store) -> dict[str, Match]:
    """Give all passages by text, but the last of those with the same text."""
    (matches,) = store.search([Query(np.ones(8, np.float32), 1000)])
    return {match.text: match for match in matches}


def test_builds_from_every_form_of_document(folder: Path, store: Store) -> None:
    """Each passage knows where it is from, and is found by its own words."""
    report = build(folder, store, embedder="minilm")
    assert (report.num_files, report.num_passages, report.num_added) == (3, 6, 6)
    assert store.facts() == Facts(dimension=8, embedder="minilm")
    found = all_of(store)
    assert found["Twelve weeks."].metadata == {
        "source": "leave.md",
        "title": "Leave",
        "section": "Parents",
        "line": 7,
    }
    assert found["A record."].id == "r-1"
    assert found["A record."].metadata == {"source": "more.jsonl", "line": 1, "year": 2024}
    (matches,) = store.search([Query(embed(["Leave > Parents\nTwelve weeks."])[0], 1)])
    assert matches[0].text == "Twelve weeks."
    assert matches[0].score == pytest.approx(1, abs=1e-6)


def test_gives_equal_passages_ids_of_their_own(folder: Path, store: Store) -> None:
    """The same words twice in one file are two passages."""
    build(folder, store)
    pays = sorted(name for name in store.ids() if name.startswith("pay.txt#"))
    assert pays == [pays[0], f"{pays[0]}-2"]


def test_changes_only_what_changed_when_built_again(folder: Path, store: Store) -> None:
    """Ids stay where text and place stay, whatever is written before them."""
    build(folder, store)
    before = {match.id: text for text, match in all_of(store).items()}
    again = build(folder, store)
    assert (again.num_added, again.num_kept, again.num_removed) == (0, 6, 0)
    (folder / "leave.md").write_text(
        "# Leave\n\nNew!\n\nThere are 30 days.\n\n## Parents\n\nTwelve weeks."
    )
    third = build(folder, store)
    assert (third.num_added, third.num_kept, third.num_removed) == (2, 5, 1)
    after = {match.id: text for text, match in all_of(store).items()}
    assert {before[name] for name in before.keys() - after.keys()} == {"There are 28 days."}
    assert {after[name] for name in after.keys() - before.keys()} == {"New!", "There are 30 days."}
    (folder / "pay.txt").unlink()
    assert build(folder, store).num_removed == 2
    assert "Pay is monthly." not in all_of(store)


def test_numbers_the_pieces_of_a_long_record(tmp_path: Path, store: Store) -> None:
    """A record that is cut gives its id to each piece, with a number."""
    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "r", "text": "One two.\n\nThree four."}))
    build_index(Documents(places=["long.jsonl"], base=tmp_path), embed, store)
    assert store.ids() == {"r#1", "r#2"}


def test_tells_progress_up_to_the_end(folder: Path, store: Store) -> None:
    """Progress starts at none, never falls, and ends at all."""
    steps: list[tuple[int, int]] = []
    build(folder, store, on_progress=lambda done, total: steps.append((done, total)), batch_size=2)
    assert steps == [(0, 6), (2, 6), (4, 6), (6, 6)]


def test_embeds_in_batches(folder: Path, store: Store) -> None:
    """The embedder is never given more than a batch."""
    sizes = []

    def counting(texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return embed(texts)

    build_index(Documents(places=["."], base=folder), counting, store, batch_size=4)
    assert sizes == [4, 2]


def test_embeds_nothing_when_documents_have_faults(folder: Path, store: Store) -> None:
    """All faults, of all files, are told before any work, and the old index stays."""
    build(folder, store)
    before = store.ids()
    (folder / "bad.md").write_bytes(b"\x00")
    (folder / "bad.jsonl").write_text(
        '{"id": "x"}\n{"text": "a", "id": "b"}\n{"text": "c", "id": "b"}'
    )

    def never(texts: list[str]) -> np.ndarray:
        pytest.fail(f"embedded {texts}")

    with pytest.raises(InvalidInput, match="3 faults") as caught:
        build_index(Documents(places=["."], base=folder), never, store)
    assert [(Path(fault.file or "").name, fault.line) for fault in caught.value.faults] == [
        ("bad.jsonl", 1),
        ("bad.jsonl", 3),
        ("bad.md", None),
    ]
    assert "The id 'b' is there twice" in caught.value.faults[1].message
    assert store.ids() == before


def test_says_when_documents_hold_no_text(tmp_path: Path, store: Store) -> None:
    """Files without a word are no index."""
    (tmp_path / "empty.md").write_text("# Title only\n")
    with pytest.raises(InvalidInput, match=r"\(empty.md\) hold no text"):
        build_index(Documents(places=["."], base=tmp_path), embed, store)


def test_says_when_metadata_cannot_be_kept(tmp_path: Path, store: Store) -> None:
    """A record's metadata is checked like the rest, with its line."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "metadata": {"n": 99999999999999999999}}')
    with pytest.raises(InvalidInput, match=r"a.jsonl:1: .*64 bits"):
        build_index(Documents(places=["."], base=tmp_path), embed, store)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda texts: np.ones((len(texts) + 1, 8)), "an array of 7x8 for 6 texts"),
        (lambda texts: np.ones(len(texts)), "an array of 6 for 6 texts"),
        (lambda texts: np.full((len(texts), 8), np.nan), "NaN"),
        (lambda texts: np.zeros((len(texts), 8)), "a vector of zeros"),
        (lambda _texts: [["a"]] * 6, "a list of numbers"),
    ],
)
def test_refuses_vectors_that_are_no_good(
    folder: Path, store: Store, broken: object, message: str
) -> None:
    """A broken embedder ends the build with a reason, and the old index stays."""
    build(folder, store)
    before = store.ids()
    with pytest.raises(InvalidInput, match=message):
        build_index(Documents(places=["."], base=folder), broken, store)  # type: ignore[arg-type]  # broken
    assert store.ids() == before


def test_keeps_the_old_index_when_the_embedder_dies(folder: Path, store: Store) -> None:
    """Whatever embed raises comes out, in the middle of the build too."""
    build(folder, store)
    before = store.ids()

    def dies(texts: list[str]) -> np.ndarray:
        if any("monthly" in text for text in texts):
            message = "out of memory"
            raise RuntimeError(message)
        return embed(texts)

    with pytest.raises(RuntimeError, match="out of memory"):
        build_index(Documents(places=["."], base=folder), dies, store, batch_size=1)
    assert store.ids() == before


def test_cuts_by_the_given_policy(folder: Path, store: Store) -> None:
    """Sizes and the measure of length are the caller's."""
    words = Documents(
        places=["leave.md"],
        base=folder,
        policy=ChunkPolicy(max_size=2, overlap=0, unit="tokens"),
        length=lambda text: len(text.split()),
    )
    assert build_index(words, embed, store).num_passages == 3


def test_holds_one_batch_at_a_time(tmp_path: Path, store: Store) -> None:
    """However many passages there are, only one batch's texts wait for the embedder."""
    lines = (json.dumps({"id": str(n), "text": f"record {n}"}) for n in range(5000))
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    most = 0

    def watching(texts: list[str]) -> np.ndarray:
        nonlocal most
        most = max(most, len(texts))
        return np.random.default_rng(len(texts)).standard_normal((len(texts), 8))

    report = build_index(Documents(places=["many.jsonl"], base=tmp_path), watching, store)
    assert (report.num_passages, most) == (5000, 64)
