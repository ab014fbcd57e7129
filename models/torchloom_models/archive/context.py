"""Context: what a handler is told of its model and of the batch, and what it says of its answers.

The face is TorchServe's (`ts.context`), spelling included: users' handlers are written against it.
Headers keep the client's spelling, and are looked up by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.sequence_headers import SequenceHeaders


#: The name under which a content type is kept among an answer's headers.
CONTENT_TYPE: Final = "content-type"

#: An answer with this header, `true`, is followed by more.
STREAM_NEXT: Final = "ts_stream_next"

#: Told a row's answer, it says whether that is the last; None where there is only one.
Criterion = Callable[[object], bool | None]

#: By place in the batch. A list or a dict.
Criteria = Sequence[Criterion] | Mapping[int, Criterion]

#: Hands an intermediate answer on: place in the batch, and item.
Tell = Callable[[int, object], None]


class RequestProcessor:
    """One request of a batch: its headers, and the status and headers of its answer."""

    def __init__(self, headers: Mapping[str, object]) -> None:
        self._headers = dict(headers)
        self._status = 200
        self._phrase = ""
        self._answer_headers: dict[str, str] = {}

    def get_request_property(self, key: str) -> object:
        """Give a header of the request, or None."""
        return self._headers.get(key)

    def get_request_properties(self) -> dict[str, object]:
        """Give all headers of the request."""
        return self._headers

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Set the status of the answer."""
        self._status = code
        self._phrase = reason_phrase or ""

    def get_response_status_code(self) -> int:
        """Give the status of the answer."""
        return self._status

    def get_response_status_phrase(self) -> str:
        """Give the phrase that goes with the status."""
        return self._phrase

    def add_response_property(self, key: str, value: str) -> None:
        """Set a header of the answer."""
        self._answer_headers[key] = value

    def get_response_headers(self) -> dict[str, str]:
        """Give all headers of the answer."""
        return self._answer_headers

    def get_response_header(self, key: str) -> str | None:
        """Give a header of the answer, or None."""
        return self._answer_headers.get(key)


@dataclass(slots=True)
class Batch:
    """The requests that a handler works on: ids and headers, in the order of its rows."""

    ids: Sequence[str] = ()
    headers: Sequence[Mapping[str, object]] = ()
    sequence_ids: Sequence[str] = ()
    tell: Tell | None = field(default=None)


class Context:
    """What handlers call `context`. One for as long as the model is loaded.

    `current` is the one whose batch is being worked on.
    """

    current: ClassVar[Context | None] = None

    def __init__(  # noqa: PLR0913, PLR0917 - TorchServe's own face
        self,
        model_name: str,
        model_dir: str,
        manifest: Mapping[str, object],
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,  # noqa: FBT001, FBT002 - the same
        metrics: object = None,
        model_yaml_config: Mapping[str, object] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = dict(manifest)
        self._system_properties: dict[str, object] = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.request_ids: dict[int, str] | None = None
        self.request_processor: list[RequestProcessor] = []
        self.metrics = MetricsCache(model_name) if metrics is None else metrics
        self.model_yaml_config: dict[str, object] = dict(model_yaml_config or {})
        self._limit_max_image_pixels = limit_max_image_pixels
        #: What tells, by place in the batch, whether an answer is the last one of its row.
        self.stopping_criteria: Criteria | None = None
        self.cache: dict[str, object] = {}
        self.cl_socket: object = None
        self.kv_cache: dict[str, object] = {}
        self.name_sequence_headers(SequenceHeaders())
        self._sequence_ids: Sequence[str] = ()
        self._tell: Tell | None = None

    def name_sequence_headers(self, headers: SequenceHeaders) -> None:
        """Tell handlers which headers tell of sequences."""
        self.header_key_sequence_id = headers.id
        self.header_key_sequence_start = headers.start
        self.header_key_sequence_end = headers.end

    @property
    def system_properties(self) -> dict[str, object]:
        """Give what the server says: model_dir, gpu_id, batch_size, server_name, …."""
        return self._system_properties

    @property
    def limit_max_image_pixels(self) -> bool:
        """Tell whether pictures are limited."""
        return self._limit_max_image_pixels

    def begin(self, batch: Batch) -> None:
        """Take a batch in; what was said of the last one is forgotten."""
        self.request_ids = dict(enumerate(batch.ids))
        self.request_processor = [RequestProcessor(headers) for headers in batch.headers]
        self._sequence_ids = batch.sequence_ids
        self._tell = batch.tell
        if isinstance(self.metrics, MetricsCache):
            self.metrics.request_ids = self.request_ids
        Context.current = self

    def end(self) -> None:
        """Take no more intermediate answers: the batch is over."""
        self._tell = None
        Context.current = None

    def tell(self, index: int, item: object) -> bool:
        """Hand an intermediate answer on; False where nobody takes any."""
        if self._tell is None:
            return False
        self._tell(index, item)
        return True

    # Requests

    def get_request_id(self, idx: int = 0) -> str | None:
        """Give the id of a request of the batch."""
        return (self.request_ids or {}).get(idx)

    def get_request_header(self, idx: int, key: str) -> object:
        """Give a header of a request, or None."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, object]:
        """Give all headers of a request."""
        return self.request_processor[idx].get_request_properties()

    def get_sequence_id(self, idx: int = 0) -> str | None:
        """Give the id of the sequence that a request belongs to; None where there is none."""
        return (self._sequence_ids[idx] or None) if idx < len(self._sequence_ids) else None

    # Answers

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the media type of an answer."""
        self.set_response_header(idx, CONTENT_TYPE, value)

    def get_response_content_type(self, idx: int) -> str | None:
        """Give the media type of an answer, or None."""
        return self.request_processor[idx].get_response_header(CONTENT_TYPE)

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the status of an answer."""
        self.request_processor[idx].report_status(code, reason_phrase=phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Set the status of all answers of the batch."""
        for processor in self.request_processor:
            processor.report_status(code, reason_phrase=phrase)

    def get_response_status(self, idx: int) -> tuple[int, str]:
        """Give the status of an answer and its phrase."""
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of an answer."""
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """Give all headers of an answer."""
        return self.request_processor[idx].get_response_headers()
