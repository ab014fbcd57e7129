"""AuthorReader: what is served opens at the terminal, for the author of its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from torchloom.deployment import Deployment
from torchloom_api.reader import Reader
from torchloom_api.settings import Settings
from torchloom_models.archive.at_terminal import AUTHORED


_FACTORY: Final = "torchloom_models.archive.at_terminal:open_at_terminal"


class AuthorReader(Reader):
    """Reads model files as any other; handlers tell the author of `folders` all that goes wrong."""

    def __init__(self, settings: Settings, folders: Iterable[Path]) -> None:
        super().__init__(settings)
        self._folders = [str(folder) for folder in folders]

    def read_model(self, text: str | bytes, file: Path | None) -> Deployment:
        """Check a model file. Raises InvalidModel with every fault."""
        deployment = super().read_model(text, file)
        config = {**deployment.config, AUTHORED: self._folders}
        return replace(deployment, factory=_FACTORY, config=config)
