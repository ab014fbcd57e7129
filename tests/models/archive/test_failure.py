"""What handlers raise, in TorchServe's words."""

from __future__ import annotations

import pytest

from torchloom.errors import HandlerFailed
from torchloom_models.archive.failure import tell_raised, to_failure
from torchloom_models.archive.prediction_exception import PredictionException


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("x"), 503, "Prediction failed"),
        (SystemExit(3), 503, "Prediction failed"),
        (MemoryError(), 507, "Out of resources"),
        (RuntimeError("CUDA out of memory"), 507, "Out of resources"),
        (PredictionException("no such thing"), 500, "no such thing"),
        (PredictionException("no such thing", 404), 404, "no such thing"),
        (PredictionException("odd", 99), 512, "odd"),
        (PredictionException("odd", "x"), 512, "odd"),  # type: ignore[arg-type]  # users do
    ],
)
def test_gives_the_status_and_words_of_torchserve(
    error: BaseException, status: int, message: str
) -> None:
    """Each kind of exception has its own."""
    failure = to_failure(error)

    assert (failure.status, failure.message) == (status, message)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x"), "Invoking custom service failed."),
        (MemoryError(), "System out of memory"),
        (RuntimeError("CUDA error"), "CUDA out of memory"),
        (PredictionException("no such thing", 404), "Prediction error"),
    ],
)
def test_is_logged_in_the_words_of_torchserve(
    error: BaseException, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and its trace follows."""
    tell_raised(error)

    (record,) = caplog.records
    assert (record.message, record.exc_info and record.exc_info[1]) == (text, error)


def test_says_what_it_was() -> None:
    """The cause is told in one line of bounded length, and can be written as UTF-8."""
    failure = to_failure(ValueError("bad\n  shape \ud800" + 3000 * "x"))

    assert failure.faults[0].message.startswith("ValueError: bad shape ?xx")
    assert len(failure.faults[0].message) <= 1000


def test_leaves_a_failure_as_it_is() -> None:
    """What is one already keeps its words."""
    failure = HandlerFailed("as it is", status=418)

    assert to_failure(failure) is failure


def test_knows_the_exception_of_torchserve_itself() -> None:
    """Where the real `ts` is installed, handlers raise its class."""
    theirs = type("PredictionException", (Exception,), {"message": "x", "error_code": 409})

    assert to_failure(theirs()).status == 409
    assert str(PredictionException("x", 409)) == "x : 409"
