"""The index as an engine: batches in, documents out, and every refusal before the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from torchloom.device import Device
from torchloom.engine import BatchEngine, Result, Work
from torchloom.errors import DeviceUnavailable, InvalidInput, ModelLoadError, TaskFailed
from torchloom_models.index.engine import open_index
from torchloom_models.index.passage import Batch, Facts, Passage
from torchloom_models.index.store import Location, Store, open_store


CPU = Device("cpu")


def silent(_what: str, _share: float | None) -> None:
    """Take no notice of progress."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an index of four passages along four axes, built with minilm."""
    store = open_store(Location(source=str(tmp_path / "index"), name="handbook"))
    passages = [
        Passage(id=name, text=f"Text {name}", metadata={"place": place, "title": "T"})
        for place, name in enumerate("abcd")
    ]
    store.replace([Batch(passages, np.eye(4))], Facts(dimension=4, embedder="minilm"))
    return store


@pytest.fixture
def config(store: Store, tmp_path: Path) -> dict[str, object]:
    """Give what a model file says about it."""
    assert store
    return {"name": "handbook", "source": str(tmp_path / "index"), "embedder": "minilm"}


@pytest.fixture
def engine(config: dict[str, object]) -> BatchEngine:
    """Open it."""
    return open_index(config, Device("auto"), silent)


def ask(engine: BatchEngine, *inputs: Mapping[str, object]) -> list[list[dict[str, object]]]:
    """Admit all, step once, and give the documents of each."""
    for number, given in enumerate(inputs):
        engine.admit(Work(number, given))
    events = engine.step()
    assert [event.task_id for event in events] == list(range(len(inputs)))
    return [event.outputs["documents"] for event in events if isinstance(event, Result)]  # type: ignore[misc]  # checked by use


def test_answers_with_documents(engine: BatchEngine) -> None:
    """A document has id, text, score and metadata, in plain JSON values."""
    ((document,),) = ask(engine, {"vector": [0, 2, 0, 0], "top_k": 1})
    assert document == {
        "id": "b",
        "text": "Text b",
        "score": pytest.approx(1),
        "metadata": {"place": 1, "title": "T"},
    }
    assert type(document["score"]) is float


def test_answers_a_batch_of_different_searches(engine: BatchEngine) -> None:
    """Each task has its own vector, top_k and filter; arrays and lists are alike."""
    first, second, third = ask(
        engine,
        {"vector": np.eye(4)[2], "top_k": 1},
        {"vector": [1.0, 0, 0, 0]},
        {"vector": np.ones(4, np.float32), "filter": {"place": {"in": [1, 3]}}, "top_k": 9},
    )
    assert [document["id"] for document in first] == ["c"]
    assert [document["id"] for document in second] == ["a", "b", "c", "d"]
    assert [document["id"] for document in third] == ["b", "d"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "vector: missing; 4 numbers"),
        ({"text": "How many days?"}, "Put an embedder's node before it"),
        ({"vector": [1, 0, 0, 0], "topk": 3}, "no input 'topk'. Did you mean 'top_k'"),
        ({"vector": [1, 0, 0]}, "vector: 3 numbers, but the index holds vectors of 4.*'minilm'"),
        ({"vector": "abcd"}, "vector: a vector is a list of numbers|holds vectors of 4"),
        ({"vector": np.ones((2, 4))}, "holds vectors of 4"),
        ({"vector": [float("nan"), 0, 0, 0]}, "NaN"),
        ({"vector": [0, 0, 0, 0]}, "zeros"),
        ({"vector": [1, 0, 0, 0], "top_k": 0}, "from 1 to 1000, not 0"),
        ({"vector": [1, 0, 0, 0], "top_k": 1001}, "from 1 to 1000"),
        ({"vector": [1, 0, 0, 0], "top_k": "3"}, "from 1 to 1000"),
        ({"vector": [1, 0, 0, 0], "top_k": True}, "from 1 to 1000"),
        ({"vector": [1, 0, 0, 0], "top_k": 2.0}, "from 1 to 1000"),
        ({"vector": [1, 0, 0, 0], "filter": "place = 1"}, "filter: a mapping"),
        ({"vector": [1, 0, 0, 0], "filter": {"place": {"gr": 1}}}, "unknown operator 'gr'"),
    ],
)
def test_refuses_bad_input_before_it_joins_a_batch(
    engine: BatchEngine, inputs: dict[str, object], message: str
) -> None:
    """The neighbours in the batch are answered all the same."""
    with pytest.raises(InvalidInput, match=message):
        engine.admit(Work(7, inputs))
    ((document,),) = ask(engine, {"vector": [1, 0, 0, 0], "top_k": 1})
    assert document["id"] == "a"


def test_holds_as_many_tasks_as_it_is_told(config: dict[str, object]) -> None:
    """The batch limit is the model file's."""
    assert open_index(config, CPU, silent).room().max_tasks == 64
    assert open_index({**config, "max_size": 5}, CPU, silent).room().max_tasks == 5


def test_tells_what_it_opens(config: dict[str, object]) -> None:
    """Progress names the index."""
    told: list[str] = []
    open_index(config, CPU, lambda what, _share: told.append(what))
    assert told == ["Opening the index handbook"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"embedder": "other"},
            "built with the embedder 'minilm', but the model file says",
        ),
        ({"metric": "l2"}, "built with the metric 'cosine', but the model file says"),
    ],
)
def test_refuses_an_index_that_was_built_otherwise(
    config: dict[str, object], changes: dict[str, object], message: str
) -> None:
    """Vectors of another model cannot be compared, so it never serves."""
    with pytest.raises(ModelLoadError, match=message):
        open_index({**config, **changes}, CPU, silent)


def test_trusts_the_index_where_the_file_does_not_say(config: dict[str, object]) -> None:
    """Without `embedder` the index is served as it is."""
    del config["embedder"]
    assert ask(open_index(config, CPU, silent), {"vector": [1, 0, 0, 0]})


def test_does_not_open_an_absent_or_empty_index(
    config: dict[str, object], store: Store, tmp_path: Path
) -> None:
    """Both say how to build one."""
    with pytest.raises(ModelLoadError, match=r"there is no index.*torchloom index build"):
        open_index({**config, "source": str(tmp_path / "nowhere")}, CPU, silent)
    store.replace([], Facts(dimension=4, embedder="minilm"))
    with pytest.raises(ModelLoadError, match=r"is empty.*torchloom index build"):
        open_index(config, CPU, silent)


def test_refuses_other_devices(config: dict[str, object]) -> None:
    """There is no index on a GPU."""
    with pytest.raises(DeviceUnavailable, match="on the CPU, not on cuda:0"):
        open_index(config, Device.parse("cuda:0"), silent)


def test_serves_what_is_built_while_it_serves(engine: BatchEngine, store: Store) -> None:
    """A build takes effect at the next search, without a restart."""
    assert ask(engine, {"vector": [1, 0, 0, 0], "top_k": 1})[0][0]["id"] == "a"
    facts = store.facts()
    store.replace([Batch([Passage(id="new", text="New")], np.eye(4)[:1])], facts)
    assert [document["id"] for document in ask(engine, {"vector": [1, 0, 0, 0]})[0]] == ["new"]


def test_does_not_serve_vectors_of_another_embedder(engine: BatchEngine, store: Store) -> None:
    """A build with another embedder fails the searches until the model is loaded again."""
    store.replace([Batch([Passage(id="x", text="")], np.eye(4)[:1])], Facts(dimension=4))
    with pytest.raises(TaskFailed, match=r"built anew with an unknown embedder.*Load the model"):
        ask(engine, {"vector": [1, 0, 0, 0]})


def test_works_after_a_cancel_and_closes(engine: BatchEngine) -> None:
    """It is a BatchEngine like any other."""
    engine.admit(Work(1, {"vector": [1, 0, 0, 0]}))
    engine.cancel(1)
    assert engine.step() == []
    engine.close()
