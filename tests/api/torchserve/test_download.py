"""Archives fetched from URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.torchserve.download import Download, DownloadFailed


@pytest.fixture
def download() -> Download:
    """Fetch whatever is named."""
    return Download(lambda _: True, is_private_allowed=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Name an archive."""
    (tmp_path / "a.mar").write_text("x")
    return (tmp_path / "a.mar").as_uri()


def test_makes_the_folder_that_it_fetches_into(
    download: Download, url: str, tmp_path: Path
) -> None:
    """The archive is all that lies there; another of its name is not replaced."""
    target = tmp_path / "new" / "store" / "b.mar"
    download.fetch(url, target)
    assert target.read_text() == "x"
    target.write_text("y")
    with pytest.raises(FileExistsError):
        download.fetch(url, target)
    assert target.read_text() == "y"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("store", ["a.mar", "a.mar/below", "x" * 300, "gone"])
def test_fails_where_it_cannot_write(
    store: str, download: Download, url: str, tmp_path: Path
) -> None:
    """A file in a folder's place is no archive that is there already."""
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DownloadFailed):
        download.fetch(url, tmp_path / store / "b.mar")


def test_fails_where_no_file_can_have_the_name(
    download: Download, url: str, tmp_path: Path
) -> None:
    """Nothing is left of what was fetched."""
    with pytest.raises(DownloadFailed):
        download.fetch(url, tmp_path / "store" / ("x" * 300))
    assert list((tmp_path / "store").iterdir()) == []
