"""The exception tree."""

from __future__ import annotations

import pytest

from torchloom import errors
from torchloom.errors import (
    Fault,
    ItemFailed,
    ModelLoadError,
    NodeFailed,
    OutOfMemory,
    QueueFull,
    TorchLoomError,
    nearest,
)


def _tree(kind: type[TorchLoomError] = TorchLoomError) -> list[type[TorchLoomError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _tree(child))]


@pytest.mark.parametrize("kind", [kind for kind in _tree() if kind.__module__ == errors.__name__])
def test_says_in_the_docstring_where_each_error_stands(kind: type[TorchLoomError]) -> None:
    """Every error is in the tree that the module's docstring draws, with its status."""
    assert errors.__doc__ is not None
    line = next(line for line in errors.__doc__.splitlines() if f"- {kind.__name__} " in f"{line} ")
    depth = (len(line) - len(line.lstrip())) // 2
    assert depth == len(kind.__mro__) - len(TorchLoomError.__mro__)
    words = line.split()
    if len(words) > 2:
        assert int(words[2]) == kind.status


def test_tells_where_a_fault_is() -> None:
    """A fault shows file, line and column as far as they are known."""
    fault = Fault(message="no such key", file="rag.yaml", line=3, column=5)
    assert str(fault) == "rag.yaml:3:5: no such key"
    assert str(Fault(message="no such key", file="rag.yaml")) == "rag.yaml: no such key"
    assert str(Fault(message="no such key")) == "no such key"


def test_takes_status_and_advice_from_the_cause() -> None:
    """A failed node answers as its cause does: status, title, faults and when to try again."""
    cause = QueueFull("No room.", faults=[Fault(message="x")], retry_after_s=2.0)
    error = NodeFailed("answer", cause)
    assert (error.status, error.title, error.retry_after_s) == (503, cause.title, 2.0)
    assert error.faults == cause.faults
    assert error.message == "Node 'answer': No room."
    assert NodeFailed.status == TorchLoomError.status
    inner = NodeFailed("pictures", ItemFailed(3, cause))
    assert inner.message == "Node 'pictures': Item 3: No room."
    assert (inner.status, inner.type) == (503, cause.type)


def test_knows_a_lack_of_memory_by_its_status() -> None:
    """Whichever error it is, and whatever it is the cause of; no other status is one."""
    load = ModelLoadError("The worker ended.")
    assert not load.lacks_memory
    load.status = OutOfMemory.status  # type: ignore[misc]  # of this one alone
    assert load.lacks_memory
    assert NodeFailed("answer", load).lacks_memory
    assert OutOfMemory("No room.").lacks_memory
    assert not NodeFailed("answer", QueueFull("No room.")).lacks_memory


def test_suggests_the_nearest_name() -> None:
    """A name that was nearly right is answered with the right one; else with a short list."""
    assert nearest("lama", ["llama", "minilm"]) == " Did you mean 'llama'?"
    assert nearest("xyz", ["b", "a"]) == " Known: a, b."
    assert nearest("xyz", []) == ""
    assert nearest("xyz", [f"name{i}" for i in range(13)]) == ""
