"""What of an archive's code is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import HANDLERS

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.context import Context
from torchloom_models.archive.entry import find_entry


pytestmark = pytest.mark.usefixtures("ts")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    """Write a file of an archive, which goes first where modules are looked for."""
    sys.path.insert(0, str(tmp_path / "archives"))
    (tmp_path / "archives").mkdir()

    def writing(name: str, text: str) -> None:
        (tmp_path / "archives" / name).write_text(text)

    return writing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the archive's folder."""
    return tmp_path / "archives"


def context_of(folder: Path) -> Context:
    """Make a context."""
    return Context("net", str(folder), {}, 1, None, "0.12.0")


@pytest.mark.parametrize("handler", ["a.py", "a", "sub/folder/a.py"])
def test_takes_the_handle_of_a_module(
    handler: str, write: Callable[[str, str], None], folder: Path
) -> None:
    """It wins over classes, is called once with no data, and folders count for nothing."""
    write(
        "a.py",
        "calls = []\n"
        "class One: pass\nclass Two: pass\n"
        "def handle(data, context):\n"
        "    calls.append(data)\n"
        "    return [context.model_name, calls]",
    )
    context = context_of(folder)
    entry = find_entry(folder, handler, context)

    assert entry([1], context) == ["net", [None, [1]]]


def test_takes_the_function_that_is_named() -> None:
    """`file:function` names any function of the module."""
    context = context_of(HANDLERS)
    entry = find_entry(HANDLERS, "module_function.py:elsewhere", context)

    assert entry([{}], context) == ["[]None"]


def test_takes_the_only_class(write: Callable[[str, str], None], folder: Path) -> None:
    """Classes that were imported do not count; `initialize` is called with the context."""
    write(
        "a.py",
        "from fractions import Fraction\n"
        "class A:\n"
        "    def initialize(self, context): self.name = context.model_name\n"
        "    def handle(self, data, context): return [self.name]\n",
    )
    context = context_of(folder)

    assert find_entry(folder, "a.py", context)([1], context) == ["net"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A: pass\nclass B: pass", "Expected only one class in custom service code or a fun"),
        ("x = 1", "Expected only one class.*: none"),
        ("class A:\n    def initialize(self, c): pass", "'A' of the handler has no 'handle'"),
        ("class A:\n    def handle(self, d, c): pass", "'A' of the handler has no 'initialize'"),
    ],
)
def test_refuses_a_module_with_no_entry(
    text: str, message: str, write: Callable[[str, str], None], folder: Path
) -> None:
    """The message is TorchServe's where it has one, and says what to do."""
    write("a.py", text)

    with pytest.raises(InvalidModel, match=message):
        find_entry(folder, "a.py", context_of(folder))


@pytest.mark.parametrize("handler", ["b.py", "b", "a.py:absent"])
def test_says_what_is_not_there(
    handler: str, write: Callable[[str, str], None], folder: Path
) -> None:
    """Neither a file, nor a built-in handler, nor a function."""
    write("a.py", "x = 1")

    with pytest.raises(InvalidModel, match=f"The handler '{handler}'"):
        find_entry(folder, handler, context_of(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("x = (", "SyntaxError"),
        ("raise ImportError(\"No module named 'torchvision'\")", "install the torchvision that"),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "built for another torch",
        ),
        ("def handle(d, c): raise ValueError('bad  \\n weights')", "ValueError: bad weights"),
        ("def handle(d, c): raise SystemExit(2)", "SystemExit: 2"),
        ("class A:\n    def handle(s, d, c): ...\n    def initialize(s, c): 1 / 0", "ZeroDivision"),
    ],
)
def test_says_what_was_raised_as_it_loads(
    text: str, message: str, write: Callable[[str, str], None], folder: Path
) -> None:
    """Whatever a user's code raises keeps the model from serving, and is told in one line."""
    write("a.py", text)

    with pytest.raises(ModelLoadError, match=message) as caught:
        find_entry(folder, "a.py", context_of(folder))
    assert caught.value.status == 500


def test_tells_a_lack_of_memory(write: Callable[[str, str], None], folder: Path) -> None:
    """It has TorchServe's status, by which callers tell it apart."""
    write("a.py", "def handle(d, c): raise RuntimeError('CUDA out of memory')")

    with pytest.raises(ModelLoadError) as caught:
        find_entry(folder, "a.py", context_of(folder))
    assert caught.value.status == 507


def test_takes_a_handler_with_the_name_of_a_library(
    write: Callable[[str, str], None], folder: Path
) -> None:
    """`json.py` is a handler here; whoever imports json gets the library all the same."""
    write("json.py", "def handle(d, c): return ['mine']")
    context = context_of(folder)
    entry = find_entry(folder, "json.py", context)

    assert entry([1], context) == ["mine"]
    assert hasattr(sys.modules["json"], "dumps")
