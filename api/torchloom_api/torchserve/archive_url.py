"""ArchiveUrl: where an archive lies that a registration names, by TorchServe's rules.

A name is one of the model store; a URL is fetched into it first. Knows no model.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from torchloom_api.torchserve.download import Download, DownloadFailed, HostRefused
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.frontend_settings import FrontendSettings


_log = logging.getLogger(__name__)

_URL: Final = re.compile(r"(https?|file)://.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An archive on this machine. `is_fetched`: it came from a URL, and goes with its model."""

    path: Path
    is_fetched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What is said of an archive that cannot be had: one of a model, or of a workflow."""

    noun: str = "Model"
    kind: str = "ModelNotFoundException"
    empty: str = "empty url"
    absent: str = "Model not found at"
    #: The type and the text where a file of its name is there already.
    there: tuple[str, str] = ("InternalServerException", "Model file already exists {name}")


def find_file(store: Path, url: str) -> Path | None:
    """Find what a path means: of the store, whatever is linked there; a folder may lie elsewhere.

    Of any other path the last name counts, as a file of the store: it may be the store's path as
    the caller sees it, which is another one in a container or behind a link. What this process may
    not look at is not there.
    """
    path = store / url
    if path.is_relative_to(store) and path != store and _is_there(path):
        return path
    if Path(url).is_absolute() and is_folder(path) and not store.is_relative_to(path):
        return path
    named = store / Path(url).name
    return named if "://" not in url and Path(url).name and _is_there(named) else None


def is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder that this process may look at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


class ArchiveFinder:
    """Finds archives for registrations. What is wrong with a URL is told in TorchServe's words."""

    def __init__(
        self,
        store: Path | None,
        settings: FrontendSettings,
        wording: Wording | None = None,
    ) -> None:
        self._store = None if store is None else store.resolve()
        self._wording = wording or Wording()
        patterns = [each for text in settings.allowed_urls for each in text.split(",")]
        self._allowed = [re.compile(each.strip(), re.IGNORECASE) for each in patterns if each]
        is_default = settings.allowed_urls == FrontendSettings().allowed_urls
        self._download = Download(self._is_allowed, is_private_allowed=not is_default)

    async def find(self, url: str) -> Found:
        """Give the archive. Raises FrontendError."""
        if self._store is None:
            raise self._refuse(f"{self._wording.noun} store has not been configured.")
        if not url:
            raise self._refuse(self._wording.empty)
        if ".." in url:
            raise self._refuse(f"Relative path is not allowed in url: {url}")
        if _URL.fullmatch(url):
            return await self._fetch(url, self._store)
        path = find_file(self._store, url)
        if path is None:
            raise self._refuse(f"{self._wording.absent}: {url}")
        return Found(path=path)

    async def _fetch(self, url: str, store: Path) -> Found:
        if not self._is_allowed(url):
            raise self._refuse(f"Given URL {url} does not match any allowed URL(s)")
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        failed = FrontendError(
            400, "DownloadArchiveException", f"Failed to download archive from: {url}"
        )
        if not name or "\0" in name:
            raise failed
        target = store / name
        if _is_there(target):
            raise self._refuse_second(name)
        try:
            await asyncio.to_thread(self._download.fetch, url, target)
        except FileExistsError:
            raise self._refuse_second(name) from None
        except HostRefused as error:
            _log.warning("%s is not fetched: %s (property allowed_urls)", url, error)
            raise failed from None
        except DownloadFailed as error:
            _log.warning("%s cannot be fetched: %s", url, error)
            raise failed from None
        return Found(path=target, is_fetched=True)

    def _is_allowed(self, url: str) -> bool:
        return any(pattern.fullmatch(url) for pattern in self._allowed)

    def _refuse_second(self, name: str) -> FrontendError:
        kind, text = self._wording.there
        return FrontendError(500, kind, text.format(name=name))

    def _refuse(self, message: str) -> FrontendError:
        return FrontendError(404, self._wording.kind, message)
