"""What an author is told of a handler that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import write_folder

from torchloom.errors import HandlerFailed
from torchloom_models.archive.at_terminal import told
from torchloom_models.archive.context import Context
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.prediction_exception import PredictionException
from torchloom_models.archive.trace import Authored


CONTEXT = Context("m", ".", {}, 1, None, "0.12.0")

FILES = {
    "handler.py": "def call(data, do):\n    import deep\n    return deep.deeper(do)\n",
    "deep.py": "def deeper(do):\n    return do()\n",
    "broken.py": "x = 1\nif x\n",
}


def _raise(error: BaseException) -> Callable[[], object]:
    def do() -> object:
        raise error

    return do


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Entry]:
    """Give an entry, of an author's two files, that does what it is given."""
    monkeypatch.syspath_prepend(str(write_folder(tmp_path, FILES)))
    namespace: dict[str, Callable[[object, object], object]] = {}
    code = compile(FILES["handler.py"], str(tmp_path / "handler.py"), "exec")
    exec(code, namespace)
    monkeypatch.delitem(__import__("sys").modules, "deep", raising=False)
    authored = Authored([tmp_path])
    return lambda do: told(lambda data, _: namespace["call"](data, do), authored)


def _fail(entry: Entry, rows: list[object] | None = None) -> HandlerFailed:
    with pytest.raises(HandlerFailed) as caught:
        entry(rows or [{}], CONTEXT)
    return caught.value


def test_says_the_last_line_of_the_author(
    entry: Callable[[object], Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    """Though a library raised it; the trace is printed from the author's first line on."""
    failure = _fail(entry(_raise(ValueError("no luck"))))

    assert failure.message == "Prediction failed: deep.py:2 in deeper: ValueError: no luck"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('handler.py", line 3, in call')
    assert lines[-1] == "ValueError: no luck"


def test_says_where_a_file_is_broken(entry: Callable[[object], Entry]) -> None:
    """One that is imported in the middle of a request."""
    failure = _fail(entry(lambda: __import__("broken")))

    assert "broken.py:2: SyntaxError" in failure.message


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PredictionException("no such thing", 404), 404, "no such thing"),
        (MemoryError(), 507, "Out of resources: deep.py:2 in deeper: MemoryError:"),
        (SystemExit(2), 503, "Prediction failed: deep.py:2 in deeper: SystemExit: 2"),
    ],
)
def test_keeps_the_status(
    entry: Callable[[object], Entry], error: BaseException, status: int, message: str
) -> None:
    """The handler's own answers keep their words."""
    failure = _fail(entry(_raise(error)))

    assert (failure.status, failure.message) == (status, message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Invalid model predict output: the handler gave dict, not a list"),
        ([1, 2], "number of batch response mismatched: the handler gave 2 items for 1 rows"),
    ],
)
def test_says_what_is_no_answer(
    entry: Callable[[object], Entry],
    capsys: pytest.CaptureFixture[str],
    given: object,
    message: str,
) -> None:
    """There is no line to it."""
    assert _fail(entry(lambda: given)).message == message
    assert capsys.readouterr().err == f"{message}.\n"


def test_watches_coroutines(entry: Callable[[object], Entry]) -> None:
    """What they raise is raised later."""

    async def work() -> object:
        await asyncio.sleep(0)
        raise ValueError("no luck")

    with pytest.raises(HandlerFailed, match="Prediction failed: ValueError: no luck"):
        asyncio.run(entry(work)([{}], CONTEXT))  # type: ignore[arg-type]  # a coroutine


def test_gives_what_is_an_answer(entry: Callable[[object], Entry]) -> None:
    """As it is."""
    assert entry(lambda: ["said"])([{}], CONTEXT) == ["said"]
