"""What `model-config.yaml` says of workers of several processes."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.parallel import level_of, to_parallel, type_of


@pytest.mark.parametrize(
    ("said", "kind"), [("TP", "tp"), ("custom", "custom"), ("", ""), ("all", ""), (3, "")]
)
def test_knows_torchserves_types(said: object, kind: str) -> None:
    """In any case; others mean nothing, as there."""
    assert type_of({"parallelType": said}) == kind


@pytest.mark.parametrize(
    ("config", "level"),
    [
        ({"parallelLevel": 4}, 4),
        ({"parallelLevel": "4", "torchrun": {"nproc-per-node": 2}}, 2),
        ({"parallelLevel": 4, "torchrun": {"nproc-per-node": "gpu"}}, 4),
        ({"parallelLevel": -1}, 0),
        ({"parallelLevel": 10**9}, 64),
        ({"torchrun": [1]}, 0),
        ({}, 0),
    ],
)
def test_counts_processes(config: dict[str, object], level: int) -> None:
    """Torchrun's number goes first."""
    assert level_of(config) == level


def test_says_it_as_model_files_do() -> None:
    """Nothing where workers are plain ones; what torchrun does not know is left out."""
    torchrun = {"nnodes": 1, "monitor-interval": 5, "other": 1, "rdzv-conf": ["x"]}
    threads = {"OMP_NUMBER_THREADS": "3"}
    config = {"parallelType": "pp", "torchrun": torchrun}

    assert to_parallel({"parallelLevel": 2}) is None
    assert to_parallel(config, [2, 3]) == {
        "type": "pp",
        "level": 1,
        "gpus": [2, 3],
        "torchrun": {"nnodes": 1, "monitor-interval": 5},
    }
    assert to_parallel({**config, "torchrun": threads}) == {
        "type": "pp",
        "level": 1,
        "torchrun": {"OMP_NUMBER_THREADS": 3},
    }
    nonsense = {"OMP_NUMBER_THREADS": "many"}
    assert to_parallel({**config, "torchrun": nonsense}) == {"type": "pp", "level": 1}
