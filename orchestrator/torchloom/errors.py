"""Every error that TorchLoom raises on purpose; each knows its HTTP status. Knows no HTTP server.

- TorchLoomError                      500
  - WorkflowError
    - InvalidWorkflow                 422  carries every fault, with line and column
      - CyclicGraph                   422
    - UnknownWorkflow                 404
    - UnknownRun                      404
  - ModelError
    - InvalidModel                    422  carries every fault, with line and column
    - UnknownModel                    404
    - ModelLoadError                  500  did not load, compile or warm up: it never serves
    - OutOfMemory                     507  does not fit beside what is loaded on the device
    - BatchContractError              500  an engine answered with the wrong number of results
    - InvalidInput                    422  refused before any work: the caller's input
      - InputTooLong                  422  more tokens than the model takes
    - TaskFailed                      500  the model raised while it worked on this input
      - HandlerFailed                 503  an archive's handler did; or its own status
    - PartFailed                      500  each takes the status of its cause
      - ItemFailed                    500  an item of a foreach failed for good
      - NodeFailed                    500  a node of a run failed for good
    - WorkerDied                      503  the process ended in the middle of the task
  - SubmissionError
    - QueueFull                       503  with the seconds after which to try again
    - NotServing                      503  draining, starting or stopped
    - DeadlineExceeded                504
    - Cancelled                       499
  - Conflict                          409  the same name and version with other content
  - DeviceUnavailable                 422  names a device that this machine does not have
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar


_CAMEL = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in a caller's document: what, where, and how to mend it.

    `line` and `column` count from 1; `pointer` is a JSON pointer (RFC 6901) into the document.
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    pointer: str | None = None

    def __str__(self) -> str:
        """Render as `file:line:column: message`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}: {self.message}" if place else self.message


class TorchLoomError(Exception):
    """The root of the tree. `status` is the HTTP status that the error maps to."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "TorchLoom could not do this"

    def __init__(
        self,
        message: str,
        *,
        faults: Iterable[Fault] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s

    @property
    def type(self) -> str:
        """Name the class as a URN, such as `urn:torchloom:queue-full` (RFC 9457's `type`)."""
        return f"urn:torchloom:{_CAMEL.sub('-', type(self).__name__).lower()}"

    @property
    def lacks_memory(self) -> bool:
        """Tell whether it is for want of memory: whatever its class, by its status."""
        return self.status == OutOfMemory.status


class WorkflowError(TorchLoomError):
    """Something about a workflow."""


class InvalidWorkflow(WorkflowError):
    """A workflow file that does not pass the checks; `faults` holds all of them."""

    status = 422
    title = "The workflow is not valid"


class CyclicGraph(InvalidWorkflow):
    """Nodes that wait for each other; the message prints the cycle."""


class UnknownWorkflow(WorkflowError):
    """No such workflow, or no such version of it."""

    status = 404
    title = "There is no such workflow"


class UnknownRun(WorkflowError):
    """No such run, or it has left the history."""

    status = 404
    title = "There is no such run"


class ModelError(TorchLoomError):
    """Something about a model."""


class InvalidModel(ModelError):
    """A model file that does not pass the checks; `faults` holds all of them."""

    status = 422
    title = "The model file is not valid"


class UnknownModel(ModelError):
    """No such model, or no such version of it."""

    status = 404
    title = "There is no such model"


class ModelLoadError(ModelError):
    """The model did not load, compile or warm up, and so never serves."""

    title = "The model could not be loaded"


class OutOfMemory(ModelError):
    """The model does not fit into its device's memory beside those that are loaded there."""

    status = 507
    title = "There is no memory for the model"


class BatchContractError(ModelError):
    """An engine gave another number of results than it was given inputs."""

    title = "The model broke the batch contract"


class InvalidInput(ModelError):
    """Refused before any work: this caller's input or parameters are wrong."""

    status = 422
    title = "The input is not valid"


class InputTooLong(InvalidInput):
    """The input has more tokens than the model takes."""

    title = "The input is too long"


class TaskFailed(ModelError):
    """The model raised while it worked on this input."""

    title = "The model failed on this input"


class HandlerFailed(TaskFailed):
    """The handler of an archive failed on this input; its `status` may be the handler's own.

    The message is the one that TorchServe has for it; what was raised (`cause`) is a fault.
    """

    status = 503
    title = "The handler failed on this input"

    def __init__(
        self,
        message: str,
        *,
        faults: Iterable[Fault] = (),
        cause: str = "",
        status: int = 503,
    ) -> None:
        super().__init__(message, faults=[Fault(message=cause)] if cause else faults)
        self.status = status  # type: ignore[misc]  # the handler decides


class WorkerDied(ModelError):
    """The worker process ended while the task was in flight."""

    status = 503
    title = "The worker process ended"


class PartFailed(ModelError):
    """A part of a run failed for good; the cause gives message, status and type."""

    def __init__(self, part: str, cause: TorchLoomError) -> None:
        super().__init__(
            f"{part}: {cause.message}",
            faults=cause.faults,
            retry_after_s=cause.retry_after_s,
        )
        self.cause = cause
        self.status = cause.status  # type: ignore[misc]  # the cause decides
        self.title = cause.title  # type: ignore[misc]  # the cause decides

    @property
    def type(self) -> str:
        """Name the cause's class."""
        return self.cause.type


class ItemFailed(PartFailed):
    """An item of a foreach failed for good; `index` counts from 0."""

    def __init__(self, index: int, cause: TorchLoomError) -> None:
        super().__init__(f"Item {index}", cause)
        self.index = index


class NodeFailed(PartFailed):
    """A node of a run failed for good."""

    def __init__(self, node: str, cause: TorchLoomError) -> None:
        super().__init__(f"Node {node!r}", cause)
        self.node = node


class SubmissionError(TorchLoomError):
    """The work was refused, or given up, for reasons of load and time."""


class QueueFull(SubmissionError):
    """A bounded queue has no place left."""

    status = 503
    title = "The queue is full"


class NotServing(SubmissionError):
    """Draining, starting or stopped."""

    status = 503
    title = "Not serving at present"


class DeadlineExceeded(SubmissionError):
    """The deadline passed before the answer was there."""

    status = 504
    title = "The deadline has passed"


class Cancelled(SubmissionError):
    """The caller cancelled, or left."""

    status = 499
    title = "Cancelled"


class Conflict(TorchLoomError):
    """The same name and version exists with other content."""

    status = 409
    title = "It exists already, with other content"


class DeviceUnavailable(TorchLoomError):
    """A device that this machine does not have."""

    status = 422
    title = "There is no such device here"


#: Errors that travel from a worker to the scheduler, by class name. Others arrive as TaskFailed.
WIRE_ERRORS: Mapping[str, type[TorchLoomError]] = {
    error.__name__: error
    for error in (
        BatchContractError,
        DeviceUnavailable,
        HandlerFailed,
        InputTooLong,
        InvalidInput,
        InvalidModel,
        ModelLoadError,
        QueueFull,
        TaskFailed,
    )
}


#: More names than these are not listed in a message.
_MAX_LISTED = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ` Did you mean 'x'?` for the closest known name, or a short list of all, or nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if 0 < len(names) <= _MAX_LISTED else ""
