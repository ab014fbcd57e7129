"""Row: a task becomes what a handler sees of one request: data, headers, ids."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from torchloom.engine import Work
from torchloom.errors import InvalidInput


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes with the inputs of a task: see `field.PARAMS`."""

    fields: dict[str, object] | None = None
    headers: dict[str, str] = {}
    content_types: dict[str, str] = {}
    request_id: str = ""
    is_explain: bool | None = False
    is_describe: bool = False
    url_path: str | None = ""
    sequence_id: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch. `data` is what the handler finds in its list."""

    task_id: int
    data: Mapping[str, object]
    headers: Mapping[str, object]
    request_id: str
    sequence_id: str
    #: Rows of another purpose are no part of the same call; those that describe are alone.
    purpose: str
    is_describe: bool = False
    has_begun: bool = False

    def again(self) -> Row:
        """Give it as the handler sees it once it has begun to answer: without data, and marked."""
        headers = {**self.headers, "cached": "true"}
        return msgspec.structs.replace(self, data={}, headers=headers, has_begun=True)

    @classmethod
    def of(cls, work: Work) -> Row:
        """Read a task. Raises InvalidInput for parameters that there are not."""
        try:
            params = msgspec.convert(work.params, Params)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The params are not valid: {error}.") from None
        fields = work.inputs if params.fields is None else params.fields
        is_explain = "True" if params.is_explain else "False"
        headers: dict[str, object] = dict(params.headers)
        if params.is_explain is not None:
            headers["explain"] = is_explain
        if params.url_path is not None:
            headers["url_path"] = params.url_path
        if params.is_describe:
            headers["describe"] = "True"
        for name in fields:
            headers.setdefault(name, {"content-type": params.content_types.get(name, "")})
        return cls(
            task_id=work.task_id,
            data={name: _to_data(value) for name, value in fields.items()},
            headers=headers,
            request_id=params.request_id or str(uuid.uuid4()),
            sequence_id=params.sequence_id,
            purpose=f"describe {work.task_id}" if params.is_describe else f"explain {is_explain}",
            is_describe=params.is_describe,
        )


def _to_data(value: object) -> object:
    """Handlers find bytes as an array of bytes, as from TorchServe: some change it in place."""
    return bytearray(value) if isinstance(value, bytes | memoryview) else value
