"""The call of a model with tensors: rows in, columns out. Knows neither HTTP nor gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import InvalidInput, PartFailed, TorchLoomError, UnknownModel
from torchloom.run_options import RunOptions
from torchloom.timings import Meter
from torchloom_api.kserve.column import pick, to_tensors
from torchloom_api.kserve.handler_call import infer_by_handler, is_handler
from torchloom_api.kserve.row import to_rows
from torchloom_api.kserve.tensor import Tensor
from torchloom_api.openai.side_by_side import all_of
from torchloom_api.service import Service


#: How many rows of one request are queued at once, where the model's queue has room for more.
_MAX_AT_ONCE: Final = 512

#: Versions have no more digits.
_MAX_DIGITS: Final = 9

_MICROSECONDS: Final = 1e6

#: Parameters that are for the server and not for the model.
_OURS: Final = frozenset({"binary_data_output", "timeout"})

#: Parameters that Triton knows, and that models here have nothing for.
_REFUSED: Final = ("sequence_id", "sequence_start", "sequence_end", "priority")


class RowFailed(PartFailed):
    """A row of several failed; `index` counts from 0."""

    def __init__(self, index: int, cause: TorchLoomError) -> None:
        super().__init__(f"Row {index}", cause)
        self.index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a client asks of a model. No `outputs` means all; no `version`: which the split says."""

    model: str
    version: str = ""
    id: str = ""
    parameters: Mapping[str, object]
    inputs: Sequence[Tensor]
    outputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model gave."""

    model: str
    version: str
    id: str
    outputs: Sequence[Tensor]


async def infer(
    service: Service, call: Call, options: RunOptions, *, meter: Meter | None = None
) -> Answer:
    """Ask a model; each row is a task. Raises what the model, or the check of its inputs, raises.

    The meter is told of tasks that succeed; a caller that is cancelled cancels every task.
    """
    service.require_started()
    deployment = service.orchestrator.pick_model(call.model, to_version(call.model, call.version))
    interface = service.interfaces.of(deployment)
    options = with_timeout(options, call.parameters)
    params = _to_params(call.parameters)
    if is_handler(deployment):
        found = await infer_by_handler(
            service, deployment, call.inputs, params, options, request_id=call.id, meter=meter
        )
        outputs = pick(found, call.outputs)
    else:
        rows = to_rows(interface, call.inputs)
        results = await ask_rows(service, deployment, rows, params, options, meter=meter)
        outputs = to_tensors(interface, results, call.outputs)
    service.interfaces.note(deployment, call.inputs, outputs)
    return Answer(
        model=deployment.name, version=str(deployment.version), id=call.id, outputs=outputs
    )


async def ask_rows(
    service: Service,
    deployment: Deployment,
    rows: Sequence[Values],
    params: Mapping[str, object],
    options: RunOptions,
    *,
    meter: Meter | None = None,
) -> list[Values]:
    """Ask a model for each row, side by side, and give the answers in order.

    Everything is checked before anything is queued. The first row that fails ends the others.
    """
    if not deployment.signature.is_open:
        check = service.checks.of(f"model {deployment.label}", deployment.signature)
        rows = [check.check(dict(row)) for row in rows]
        params = check.check_params(dict(params))
    slots = asyncio.Semaphore(min(_MAX_AT_ONCE, deployment.queue.max_size))

    async def ask(index: int, row: Values) -> Values:
        async with slots:
            try:
                return await service.orchestrator.predict(
                    deployment.name,
                    row,
                    params,
                    version=deployment.version,
                    options=options,
                    meter=meter,
                )
            except TorchLoomError as error:
                if len(rows) == 1:
                    raise
                raise RowFailed(index, error) from error

    if len(rows) == 1:
        return [await ask(0, rows[0])]
    return await all_of(ask(index, row) for index, row in enumerate(rows))


def to_version(model: str, version: str) -> int | None:
    """Read a version as it stands in a path; none where it is empty. Raises UnknownModel."""
    if not version:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= _MAX_DIGITS):
        message = f"Model {model!r} has no version {version!r}: versions are whole numbers."
        raise UnknownModel(message)
    return int(version)


def with_timeout(options: RunOptions, parameters: Mapping[str, object]) -> RunOptions:
    """Lay the parameter `timeout` (microseconds, as Triton has it) over a request's options."""
    given = parameters.get("timeout")
    if given is None:
        return options
    if isinstance(given, bool) or not isinstance(given, int) or given <= 0:
        raise InvalidInput("The parameter 'timeout' must be a whole number of microseconds.")
    timeout_s = given / _MICROSECONDS
    if options.timeout_s is not None:
        timeout_s = min(timeout_s, options.timeout_s)
    return replace(options, timeout_s=timeout_s)


def _to_params(parameters: Mapping[str, object]) -> dict[str, object]:
    for name in _REFUSED:
        if parameters.get(name):
            message = (
                f"The parameter {name!r} is not served: models hold no sequences, and a request's "
                "priority is its header X-Priority."
            )
            raise InvalidInput(message)
    skipped = {*_OURS, *_REFUSED}
    return {name: value for name, value in parameters.items() if name not in skipped}
