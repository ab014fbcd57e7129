"""Exported programs, opened without unpickling anything."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from torchloom.errors import ModelLoadError
from torchloom_models.program import load_program


pytestmark = pytest.mark.slow


class Shift(nn.Module):
    """A weight, a buffer and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("shift", torch.ones(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give [rows, 2]."""
        return self.linear(x) + self.shift + torch.tensor([1.0, 2.0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Save a program."""
    torch.export.save(torch.export.export(Shift(), (torch.ones(3, 2),)), tmp_path / "shift.pt2")
    return tmp_path / "shift.pt2"


def rewrite(path: Path, change: Callable[[str, bytes], bytes], *extra: tuple[str, bytes]) -> None:
    """Write the archive anew, each entry changed, with further entries at its end."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, content in entries:
            archive.writestr(name, change(name, content))
        for name, content in extra:
            archive.writestr(name, content)


def keep(_name: str, content: bytes) -> bytes:
    """Change nothing."""
    return content


def test_keeps_what_torch_says_of_its_own_buffers_to_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older releases of torch warn of how they read weights, which no user can change."""
    torch_load = torch.export.load

    def load(path: Path) -> torch.export.ExportedProgram:
        warnings.warn("The given buffer is not writable, and …", UserWarning, stacklevel=2)
        return torch_load(path)

    monkeypatch.setattr(torch.export, "load", load)

    assert load_program(path).state_dict


def test_opens_a_program_with_weights_buffers_and_constants(path: Path) -> None:
    """What torch.export.save writes for a module of tensors is safe, and opened."""
    program = load_program(path)

    assert program.module()(torch.zeros(3, 2)).shape == (3, 2)


@pytest.mark.parametrize("kind", ["weights", "constants"])
@pytest.mark.parametrize("lie", [{"use_pickle": True}, {"path_name": "opaque_obj_0"}])
def test_refuses_what_would_be_unpickled(path: Path, kind: str, lie: dict[str, object]) -> None:
    """Pickled entries, and objects that torch unpickles whatever they say of themselves."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(f"{kind}_config.json"):
            return content
        config = json.loads(content)
        for entry in config["config"].values():
            entry.update(lie)
        assert config["config"]
        return json.dumps(config).encode()

    rewrite(path, change)

    with pytest.raises(ModelLoadError, match="is pickled"):
        load_program(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shift/data/weights/model.pt", "older format"),
        ("shift/data/constants/model.pt", "older format"),
        ("shift/data/aotinductor/model/x.so", "native code"),
        ("shift/data/sample_inputs/other.pt", "more than tensors"),
        ("shift/models/model.json", "two entries"),
    ],
)
def test_refuses_entries_that_run_code(path: Path, name: str, words: str) -> None:
    """Older formats, native code, objects among samples, and one name for two entries."""
    rewrite(path, keep, (name, b"\x80\x02cos\nsystem\n."))

    with pytest.raises(ModelLoadError, match=words):
        load_program(path)


@pytest.mark.parametrize("size", [0, 10, 500])
def test_says_that_a_file_is_broken(path: Path, size: int) -> None:
    """A file that was cut short is named."""
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ModelLoadError, match=r"shift\.pt2"):
        load_program(path)
