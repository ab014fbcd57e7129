"""How often the stages of a handler may run at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from torchloom_models.archive.ts.handler_utils.micro_batching import MicroBatching


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inference": -1}, "'inference' may run -1 times at once; 1 is the least"),
        ({"inference": 2, "postprocess": 0}, "'postprocess' may run 0 times"),
        (dict.fromkeys(("preprocess", "inference", "postprocess"), 0), "may run 0 times"),
        ({"inference": "many"}, "'many'"),
        ({"infer": 2}, "There is no stage 'infer'"),
    ],
)
def test_goes_on_as_before_where_a_number_is_refused(given: dict[str, int], says: str) -> None:
    """Nothing of what was refused is kept, and what runs can be set again."""
    stages = SimpleNamespace(preprocess=list, inference=sorted, postprocess=tuple)
    parts = MicroBatching(stages, 2, {"inference": 3})

    with pytest.raises(ValueError, match=says):
        parts.parallelism = given
    assert parts.parallelism == {"preprocess": 1, "inference": 3, "postprocess": 1}
    assert parts.handle([2, 1, 4, 3, 5]) == [1, 2, 3, 4, 5]
    parts.parallelism = {"preprocess": 2}
    assert parts.handle([2, 1, 3]) == [1, 2, 3]
    parts.shutdown()
