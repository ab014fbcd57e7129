"""CodeStatus: which engines have one, and when it changes by itself."""

from __future__ import annotations

from torchloom.code_status import CodeStatus, Compiled, is_changing
from torchloom.engine import BatchEngine


def test_changes_by_itself_while_something_compiles() -> None:
    """Everything else changes with a step alone."""
    parts = [CodeStatus(part="a", state=s) for s in ("none", "compiled", "eager")]
    assert not is_changing(parts)
    assert is_changing([*parts, CodeStatus(part="b", state="compiling")])


def test_is_told_by_a_batch_engine_that_compiles() -> None:
    """One around a function that nobody has compiled has nothing to tell."""
    part = CodeStatus(part="a", state="compiled", num_compiled=2)
    engine = BatchEngine(lambda _: [], max_tasks=1, code=lambda: [part])
    assert isinstance(engine, Compiled)
    assert list(engine.code_status()) == [part]
    assert not BatchEngine(lambda _: [], max_tasks=1).code_status()
