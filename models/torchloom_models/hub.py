"""The hub: fetches a model's files with huggingface_hub, and reports how much of them is there.

Honours HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE. Knows no model.
"""

from __future__ import annotations

import io
from pathlib import Path

from huggingface_hub import snapshot_download
from tqdm import tqdm  # type: ignore[import-untyped]  # no stubs among our dependencies

from torchloom.deployment import Report
from torchloom.errors import ModelLoadError


#: What is fetched: weights that are data, configuration, tokenizers. No pickles and no code.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")


def download(repository: str, revision: str, report: Report) -> Path:
    """Give the folder of a repository at a revision, fetching what the cache does not hold.

    A commit that the cache holds whole needs no network. Raises ModelLoadError.
    """
    report(f"fetching {repository}", None)
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(PATTERNS),
            tqdm_class=_reporting_bar(report, f"downloading {repository}"),
        )
    except (OSError, ValueError) as error:
        message = (
            f"The model {repository!r} at {revision!r} could not be fetched: {error} Look at its "
            "name and revision, at the network, and at HF_TOKEN if the model is gated; or put its "
            "files into a folder and name that as the source."
        )
        raise ModelLoadError(message) from error
    return Path(folder)


def _reporting_bar(report: Report, what: str) -> type[tqdm]:
    """Make a progress bar that draws nothing and reports the bytes that came instead."""

    class ReportingBar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *arguments: object, **options: object) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **{**options, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            drawn: bool | None = super().update(n)
            if self.unit == "B" and self.total:
                report(what, min(self.n / self.total, 1.0))
            return drawn

    return ReportingBar
