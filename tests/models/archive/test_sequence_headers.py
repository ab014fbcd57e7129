"""Which headers tell of sequences."""

from __future__ import annotations

import pytest

from torchloom_models.archive.sequence_headers import SequenceHeaders, sequence_paths


END = "ts_request_sequence_end"


def test_reads_what_a_request_says_of_its_sequence() -> None:
    """Names of headers may be spelled in any case."""
    names = SequenceHeaders()
    said = {"TS_Request_Sequence_Id": "a", "Ts_request_sequence_start": "True"}

    assert (names.id_of(said), names.is_start(said)) == ("a", True)
    assert (names.id_of({}), names.is_start({"ts_request_sequence_start": "no"})) == ("", False)


@pytest.mark.parametrize(
    ("headers", "ended"),
    [
        ([{}, {END: "b; c;"}], ["b", "c"]),
        ([{END: "true"}], ["a"]),
        ([{END.upper(): "TRUE"}, {END: "b"}], ["a", "b"]),
        ([{END: ""}, {"other": "b"}], []),
    ],
)
def test_reads_which_sequences_end(headers: list[dict[str, object]], ended: list[str]) -> None:
    """Ids come with semicolons between; `true` stands for the request's own."""
    assert SequenceHeaders().ended_by("a", headers) == ended


def test_goes_by_the_names_of_a_model_file() -> None:
    """Those that it does not name have their usual ones."""
    config = {"sequence_headers": {"id": "x-id", "end": "x-end"}}
    names = SequenceHeaders.read(config)

    assert names == SequenceHeaders(id="x-id", start="ts_request_sequence_start", end="x-end")
    assert names.id_of({"X-Id": "a", "ts_request_sequence_id": "b"}) == "a"
    assert sequence_paths(config) == (("sequence_id",), ("headers", "x-id"))
    assert sequence_paths({}) == (("sequence_id",), ("headers", "ts_request_sequence_id"))
