"""One contract over all stores: on disk, and in a PostgreSQL server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchloom.errors import InvalidInput, InvalidModel, ModelLoadError
from torchloom_models.index.condition import parse_filter
from torchloom_models.index.passage import Batch, Facts, Metric, Passage
from torchloom_models.index.store import IndexBusy, Location, Query, Store, open_store


FACTS = Facts(dimension=4, embedder="minilm")

Open = Callable[[], Store]


POSTGRES = pytest.param("postgres", marks=pytest.mark.slow)


@pytest.fixture(params=["embedded", POSTGRES])
def open_index(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Give a function that opens the same, still absent, index each time that it is called."""
    if request.param == "postgres":
        request.getfixturevalue("postgres_password")
        location = Location(
            source=request.getfixturevalue("postgres_url"),
            table=f"index_{uuid.uuid4().hex[:12]}",
            password_env="POSTGRES_WORD",
            name="handbook",
        )
    else:
        location = Location(source=str(tmp_path / "handbook.index"), name="handbook")
    if request.param == "indexed":
        monkeypatch.setattr("torchloom_models.index.embedded._INDEX_FIELDS_FROM", 0)
    opened: list[Store] = []

    def open_once_more() -> Store:
        opened.append(open_store(location))
        return opened[-1]

    yield open_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(open_index: Open) -> Store:
    """Give an index of three passages, along the first three axes."""
    store = open_index()
    store.replace([batch("one", "two", "three")], FACTS)
    return store


def axis(place: int) -> np.ndarray:
    """Give the unit vector along one of four axes."""
    vector = np.zeros(4, np.float32)
    vector[place] = 1
    return vector


def batch(*ids: str, metadata: Mapping[str, object] | None = None) -> Batch:
    """Give one passage an id, each along its own axis."""
    passages = [Passage(id=name, text=f"Text of {name}.", metadata=metadata or {}) for name in ids]
    return Batch(passages, np.stack([axis(place % 4) for place in range(len(ids))]))


def found(store: Store, vector: np.ndarray, top_k: int = 10) -> list[str]:
    """Give the ids that one search finds."""
    query = Query(vector.astype(np.float32), top_k)
    return [match.id for match in store.search([query])[0]]


def test_finds_the_nearest_first_with_text_and_score(store: Store) -> None:
    """The best match stands first and carries what was stored."""
    (matches,) = store.search([Query(np.array([0.1, 1, 0, 0], np.float32), 2)])
    assert [match.id for match in matches] == ["two", "one"]
    assert matches[0].text == "Text of two."
    assert matches[0].score == pytest.approx(1 / np.sqrt(1.01), abs=1e-6)
    assert matches[0].score > matches[1].score


def test_answers_each_query_of_a_batch_in_order(store: Store) -> None:
    """A batch is answered query by query, whatever their order and size."""
    queries = [Query(axis(place), 1 + place) for place in (2, 0, 1, 0)]
    answers = store.search(queries)
    assert [matches[0].id for matches in answers] == ["three", "one", "two", "one"]
    assert [len(matches) for matches in answers] == [3, 1, 2, 1]


def test_answers_no_query_with_nothing(store: Store) -> None:
    """An empty batch is a batch."""
    assert store.search([]) == []


def test_gives_all_that_there_are_when_top_k_is_larger(store: Store) -> None:
    """A top_k over the number of passages is no error."""
    assert len(found(store, axis(0), top_k=1000)) == 3


def test_counts_and_lists_ids(store: Store) -> None:
    """Count and ids agree with what was written."""
    assert store.count() == 3
    assert store.ids() == {"one", "two", "three"}


def test_remembers_how_it_was_built(open_index: Open, store: Store) -> None:
    """Dimension, metric and embedder are kept in the index itself."""
    assert store.facts() == FACTS
    assert open_index().facts() == FACTS


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_scores_higher_for_nearer_in_every_metric(open_index: Open, metric: Metric) -> None:
    """Each metric's score follows its formula, and higher is better."""
    vectors = np.array([[3, 0, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0]], np.float32)
    passages = [Passage(id=name, text=name) for name in "abc"]
    store = open_index()
    store.replace([Batch(passages, vectors)], Facts(dimension=4, metric=metric))
    asked = np.array([1, 0.5, 0, 0], np.float32)
    (matches,) = store.search([Query(asked, 3)])
    products = vectors @ asked
    expected = {
        "cosine": products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked),
        "dot": products,
        "l2": 1 / (1 + np.linalg.norm(vectors - asked, axis=1)),
    }[metric]
    scores = {match.id: match.score for match in matches}
    assert [scores[name] for name in "abc"] == pytest.approx(list(expected), abs=1e-6)
    assert [match.score for match in matches] == sorted(scores.values(), reverse=True)


def test_orders_equal_scores_by_id_also_at_the_cut(open_index: Open) -> None:
    """Among equal scores the smallest ids are in, first ones first, however many there are."""
    names = [f"p{number:03}" for number in range(100)]
    shuffled = list(np.random.default_rng(0).permutation(names))
    store = open_index()
    passages = [Passage(id=str(name), text="same") for name in shuffled]
    store.replace([Batch(passages, np.tile(axis(1), (100, 1)))], FACTS)
    assert found(store, axis(1), top_k=7) == names[:7]


def test_keeps_all_after_it_is_opened_again(open_index: Open, store: Store) -> None:
    """What was written is there for the next one who opens it."""
    store.close()
    assert found(open_index(), axis(0), top_k=1) == ["one"]
    assert found(store, axis(1), top_k=1) == ["two"]


def test_replaces_everything_at_once(store: Store) -> None:
    """After a replace only the new passages are there."""
    assert store.replace([batch("four"), batch("five")], FACTS) == 2
    assert store.ids() == {"four", "five"}
    assert sorted(found(store, axis(0))) == ["five", "four"]


def test_shows_a_replaced_index_to_those_who_have_it_open(open_index: Open, store: Store) -> None:
    """An open reader sees the new passages, and another dimension, without opening it again."""
    reader = open_index()
    assert reader.count() == 3
    facts = Facts(dimension=2, embedder="other")
    store.replace([Batch([Passage(id="flat", text="flat")], np.ones((1, 2), np.float32))], facts)
    assert reader.facts() == facts
    assert found(reader, np.ones(2)) == ["flat"]


def test_leaves_the_old_index_when_a_replace_fails(open_index: Open, store: Store) -> None:
    """A build that breaks off changes nothing, and the next one works."""

    def breaks_off() -> Iterator[Batch]:
        yield batch("half")
        message = "the embedder died"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="embedder died"):
        store.replace(breaks_off(), FACTS)
    assert open_index().ids() == {"one", "two", "three"}
    assert store.replace([batch("new")], FACTS) == 1


def test_can_be_replaced_by_nothing(store: Store) -> None:
    """An empty index is an index: it finds nothing."""
    assert store.replace([], FACTS) == 0
    assert found(store, axis(0)) == []


def test_upserts_new_and_known_passages(open_index: Open, store: Store) -> None:
    """A known id is replaced and not doubled; a new one is added; readers see it."""
    reader = open_index()
    assert reader.count() == 3
    changed = Passage(id="one", text="Changed.", metadata={"year": 2025})
    store.upsert(Batch([changed, Passage(id="six", text="New.")], np.stack([axis(3), axis(0)])))
    assert reader.count() == 4
    (matches,) = reader.search([Query(axis(3), 1)])
    assert (matches[0].text, matches[0].metadata) == ("Changed.", {"year": 2025})
    assert found(reader, axis(0), top_k=1) == ["six"]


def test_lets_the_last_of_one_id_win(store: Store) -> None:
    """The same id twice in one write is kept once, as it came last."""
    twice = [Passage(id="a", text="first"), Passage(id="a", text="last")]
    store.replace([Batch(twice, np.stack([axis(0), axis(1)]))], FACTS)
    (matches,) = store.search([Query(axis(1), 5)])
    assert [match.text for match in matches] == ["last"]


def test_deletes_what_it_knows_and_counts_it(store: Store) -> None:
    """Unknown ids are ignored."""
    assert store.delete(["one", "no such id", "three"]) == 2
    assert store.ids() == {"two"}
    assert store.delete(["one"]) == 0


HOSTILE = [
    "it's",
    'a "quoted" one',
    "; DROP TABLE x; --",
    "%s %(a)s {}",
    "\\",
    "名前 😀",
    " ",
    "a\nb",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_keeps_hostile_ids_texts_and_metadata(store: Store, text: str) -> None:
    """Quotes, SQL, formats and unicode are data, in every place that takes text."""
    passage = Passage(id=text, text=text, metadata={text: text, "other": "x"})
    store.upsert(Batch([passage], axis(3)[None]))
    (matches,) = store.search([Query(axis(3), 1, parse_filter({text: text}))])
    assert (matches[0].id, matches[0].text) == (text, text)
    assert matches[0].metadata == passage.metadata
    other = Query(axis(3), 1, parse_filter({text: "x"}))
    assert store.search([other]) == [[]]
    assert store.delete([text]) == 1


_SCALARS = (
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_JSON = st.recursive(
    st.none() | _SCALARS | st.integers(-(2**63) + 1, 2**63 - 1) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_RELAXED = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_RELAXED
@given(metadatas=st.lists(st.dictionaries(_TEXTS, _JSON, max_size=4), min_size=1, max_size=8))
def test_gives_metadata_back_as_it_was(store: Store, metadatas: list[dict[str, object]]) -> None:
    """Any JSON object survives the round trip, types and all."""
    passages = [
        Passage(id=str(number), text="", metadata=metadata)
        for number, metadata in enumerate(metadatas)
    ]
    store.replace([Batch(passages, np.ones((len(passages), 4), np.float32))], FACTS)
    (matches,) = store.search([Query(np.ones(4, np.float32), 100)])
    assert [repr(match.metadata) for match in matches] == [repr(data) for data in metadatas]


FIELDS = st.sampled_from(["a", "it's", 'q"q', "x[0].b名"])
VALUES = st.sampled_from(
    [0, 1, 1.0, 1.5, -2, 1e300, True, False, "", "1", "x", "X", "it's", "true"]
)
_TESTS = st.one_of(
    st.builds(lambda op, v: {op: v}, st.sampled_from(["eq", "ne"]), VALUES),
    st.builds(
        lambda op, v: {op: v}, st.sampled_from(["in", "not_in"]), st.lists(VALUES, min_size=1)
    ),
    st.builds(
        lambda op, v: {op: v},
        st.sampled_from(["lt", "lte", "gt", "gte"]),
        st.sampled_from([0, 1, 1.0, 1.5, -2]),
    ),
    st.builds(lambda v: {"exists": v}, st.booleans()),
    VALUES,
)
_METADATA = st.dictionaries(
    FIELDS, VALUES | st.none() | st.lists(VALUES | st.none(), max_size=3) | st.just({"a": 1})
)


@pytest.mark.parametrize("open_index", ["embedded", "indexed", POSTGRES], indirect=True)
@_RELAXED
@given(
    metadatas=st.lists(_METADATA, min_size=1, max_size=12),
    filters=st.lists(st.dictionaries(FIELDS, _TESTS, max_size=3), min_size=1, max_size=12),
)
def test_filters_as_the_reference_does(
    store: Store, metadatas: list[dict[str, object]], filters: list[dict[str, object]]
) -> None:
    """Every operator means the same in every store, for every type of value."""
    passages = [
        Passage(id=f"{number:02}", text="", metadata=metadata)
        for number, metadata in enumerate(metadatas)
    ]
    store.replace([Batch(passages, np.ones((len(passages), 4), np.float32))], FACTS)
    vector = np.ones(4, np.float32)
    answers = store.search([Query(vector, 100, parse_filter(asked)) for asked in filters])
    for asked, matches in zip(filters, answers, strict=True):
        expected = [part.id for part in passages if _passes(part.metadata, asked)]
        assert [match.id for match in matches] == expected, asked
        assert store.count(parse_filter(asked)) == len(expected), asked


def _passes(metadata: Mapping[str, object], asked: Mapping[str, object]) -> bool:
    """Say what a filter means, in the plainest way."""
    return all(
        _passes_test(metadata.get(name), operator, value)
        for name, test in asked.items()
        for operator, value in (test if isinstance(test, dict) else {"eq": test}).items()
    )


def _passes_test(stored: object, operator: str, value: object) -> bool:
    items = [
        item
        for item in (stored if isinstance(stored, list) else [stored])
        if isinstance(item, str | int | float)
    ]
    values = value if isinstance(value, list) else [value]
    match operator:
        case "eq" | "in":
            return any(_same(item, wanted) for item in items for wanted in values)
        case "ne" | "not_in":
            return not any(_same(item, wanted) for item in items for wanted in values)
        case "exists":
            return bool(items) == value
    compare = {"lt": "__lt__", "lte": "__le__", "gt": "__gt__", "gte": "__ge__"}[operator]
    numbers = [float(i) for i in items if not isinstance(i, str | bool)]
    return any(getattr(number, compare)(float(str(value))) for number in numbers)


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 0, 0], "3 numbers, but the index holds vectors of 4.*'minilm'"),
        ([1.0, 0, 0, 0, 0], "5 numbers"),
        ([np.nan, 0, 0, 0], "NaN or infinity"),
        ([np.inf, 0, 0, 0], "NaN or infinity"),
        ([0.0, 0, 0, 0], "vector of zeros"),
    ],
)
def test_refuses_vectors_that_do_not_fit(store: Store, vector: list[float], message: str) -> None:
    """Searching and writing refuse the same vectors, and say why; nothing is changed."""
    bad = np.array(vector, np.float32)
    with pytest.raises(InvalidInput, match=message):
        store.search([Query(bad, 1)])
    with pytest.raises(InvalidInput, match=message):
        store.upsert(Batch([Passage(id="bad", text="")], bad[None]))
    with pytest.raises(InvalidInput, match=message):
        store.replace([batch("x"), Batch([Passage(id="bad", text="")], bad[None])], FACTS)
    assert store.ids() == {"one", "two", "three"}


def test_says_how_to_build_an_index_that_is_not_there(open_index: Open) -> None:
    """Whatever is asked of an absent index, the answer is how to build it."""
    store = open_index()
    for ask in (
        store.facts,
        store.count,
        store.ids,
        lambda: store.search([Query(axis(0), 1)]),
        lambda: store.upsert(batch("a")),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(
            ModelLoadError, match=r"no index.*torchloom index build FILE --index handbook"
        ):
            ask()


def test_lets_one_write_at_a_time(open_index: Open, store: Store) -> None:
    """A second build while one goes on gets a clear error; afterwards the way is free."""
    other = open_index()

    def meets_another() -> Iterator[Batch]:
        yield batch("a")
        with pytest.raises(IndexBusy, match="another build of it is going on"):
            other.replace([batch("b")], FACTS)
        with pytest.raises(IndexBusy):
            other.upsert(batch("b"))

    store.replace(meets_another(), FACTS)
    assert other.ids() == {"a"}
    assert other.replace([batch("b")], FACTS) == 1


def test_serves_readers_while_it_is_written(open_index: Open, store: Store) -> None:
    """Readers that never stop see whole indexes only, while generations come and go."""
    done = threading.Event()
    seen: list[set[str]] = []

    def read() -> None:
        reader = open_index()
        while not done.is_set():
            seen.append(reader.ids())
            seen.append(set(found(reader, np.ones(4))))

    thread = threading.Thread(target=read)
    thread.start()
    wholes = [{"one", "two", "three"}]
    try:
        for turn in range(12):
            ids = [f"{turn}-{number}" for number in range(4)]
            store.replace([batch(name) for name in ids], FACTS)
            wholes.append(set(ids))
    finally:
        done.set()
        thread.join()
    assert seen
    assert all(ids in wholes for ids in seen)


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://u:secret@localhost/db",
        "postgres://localhost/db?password=secret",
        "postgresql://localhost/db?pass%77ord=secret",
    ],
)
def test_refuses_a_password_in_the_source(source: str) -> None:
    """A model file holds no secret, and the error does not repeat it."""
    with pytest.raises(InvalidModel, match="password_env") as caught:
        Location(source=source)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("table", ["", "a b", 'a"; DROP', "1a", "x" * 41, "a.b"])
def test_refuses_a_table_that_is_no_plain_name(table: str) -> None:
    """Table names are checked, although they are quoted as well."""
    with pytest.raises(InvalidModel, match="letters, digits and underscores"):
        Location(source="postgresql://localhost/db", table=table)
