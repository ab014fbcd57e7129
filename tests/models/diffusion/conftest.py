"""What the tests of the diffusion engine share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


# importlib mode puts no folder on the path: `tiny_pipeline` lies beside this file.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Run tiny networks on one thread: two that wait for each other on a busy machine crawl."""
    import torch  # noqa: PLC0415 - for the tests that use it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a tiny Stable Diffusion."""
    from tiny_pipeline import save_pipeline  # noqa: PLC0415 - diffusers, for the tests that use it

    return save_pipeline(tmp_path_factory.mktemp("stable_diffusion"))


@pytest.fixture(scope="session")
def openvino_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that keeps OpenVINO's code of tiny pipelines with full weights."""
    return tmp_path_factory.mktemp("openvino_code")


@pytest.fixture(scope="session")
def stable_diffusion_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a tiny Stable Diffusion XL."""
    from tiny_pipeline import save_pipeline  # noqa: PLC0415 - diffusers, for the tests that use it

    folder = tmp_path_factory.mktemp("stable_diffusion_xl")
    return save_pipeline(folder, "stable_diffusion_xl")
