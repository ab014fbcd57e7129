"""A handler for several tasks of transformers, as users of TorchServe write theirs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from model_fakes.archives import make_mar
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast

from torchloom.engine import Result, Work
from torchloom_models.archive.engine import HandlerEngine


pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and tracing warn of a lot

#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]

WORDS = ("[PAD]", "[UNK]", "tea", "is", "a", "warm", "drink", "what")

CONFIG = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
    num_labels=2,
    is_decoder=False,
)

#: What the handler is told, unless a test says otherwise.
TASK = {
    "name": "classify",
    "is_traced": False,
    "is_explained": False,
    "longest": 8,
    "trunk": "bert",
}


def archive(tmp_path: Path, model: Any, *, names: object = None, **task: object) -> Path:
    """Make an archive of all that `save_pretrained` writes, and what the handler is told."""
    folder = tmp_path / "pretrained"
    model.eval().save_pretrained(folder)
    inner = Tokenizer(models.WordLevel({each: at for at, each in enumerate(WORDS)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]  # its stub says otherwise
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.save_pretrained(folder)
    files: dict[str, str | bytes] = {each.name: each.read_bytes() for each in folder.iterdir()}
    files["task.json"] = json.dumps({**TASK, **task})
    if names is not None:
        files["index_to_name.json"] = json.dumps(names)
    if task.get("is_traced"):
        ids = torch.zeros((1, 8), dtype=torch.int64)
        traced = torch.jit.trace(model, (ids, torch.ones_like(ids)), strict=False)
        traced.save(str(tmp_path / "traced.pt"))
        files["traced.pt"] = (tmp_path / "traced.pt").read_bytes()
    return make_mar(tmp_path, "tasks", "transformer_tasks.py", files, serializedFile="traced.pt")


def ask(engine: HandlerEngine, *bodies: bytes, **params: object) -> list[Any]:
    """Ask an engine for a batch, as `curl -T` sends it; give the items."""
    for number, body in enumerate(bodies):
        engine.admit(Work(number, {"body": body}, params))
    given = [each for each in engine.step() if isinstance(each, Result)]
    return [each.outputs["value"] for each in given]


@pytest.mark.parametrize("is_traced", [False, True])
def test_classifies_a_batch(*, is_traced: bool, open_archive: Open, tmp_path: Path) -> None:
    """Labels by the archive's own file; models saved whole and traced ones."""
    config = copy.deepcopy(CONFIG)  # others use it too
    config.return_dict = not is_traced
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 9.0]))
    source = archive(tmp_path, model, names={"0": "dull", "1": "lively"}, is_traced=is_traced)
    engine = open_archive(source, max_size=2)

    assert ask(engine, b"tea is warm", b"a drink") == ["lively", "lively"]


def test_explains_a_text(open_archive: Open, tmp_path: Path) -> None:
    """The handler's own call of captum, with the target that the text names."""
    pytest.importorskip("captum")
    model = transformers.BertForSequenceClassification(CONFIG)
    source = archive(tmp_path, model, is_explained=True)
    engine = open_archive(source)
    body = str({"text": "tea is warm", "target": 1}).encode()
    (found,) = ask(engine, body, is_explain=True)

    assert found["for"] == 1
    assert found["words"][:4] == ["tea", "is", "warm", "[PAD]"]
    assert len(found["weights"]) == 8
    assert all(isinstance(weight, float) for weight in found["weights"])


def test_labels_tokens(open_archive: Open, tmp_path: Path) -> None:
    """Pairs become lists, as JSON has no tuples."""
    model = transformers.BertForTokenClassification(CONFIG)
    source = archive(tmp_path, model, names={"tags": ["plain", "thing"]}, name="tag")
    (pairs,) = ask(open_archive(source), b"tea is warm")

    assert [token for token, _ in pairs][:3] == ["tea", "is", "warm"]
    assert {label for _, label in pairs} <= {"plain", "thing"}


def test_answers_a_question(open_archive: Open, tmp_path: Path) -> None:
    """Question and context are written into the body as Python writes them."""
    source = archive(tmp_path, transformers.BertForQuestionAnswering(CONFIG), name="point")
    engine = open_archive(source)
    engine.admit(Work(0, {"body": b"{'question': 'what is tea', 'context': 'a warm drink'}"}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert isinstance(event.outputs["body"], bytes)


def test_goes_on_with_a_text(open_archive: Open, tmp_path: Path) -> None:
    """A model that writes, through `generate`."""
    config = transformers.GPT2Config(
        vocab_size=len(WORDS), n_embd=8, n_layer=1, n_head=2, n_positions=16, eos_token_id=None
    )
    model = transformers.GPT2LMHeadModel(config)
    engine = open_archive(archive(tmp_path, model, name="go on"), max_size=2)
    first, second = ask(engine, b"tea is", b"what")

    assert first.startswith("tea is")
    assert second.startswith("what")
