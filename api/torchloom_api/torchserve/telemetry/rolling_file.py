"""RollingFile: a file of lines that is put aside when it is large or old. Knows no event.

Other servers may write to the same file, and may put it aside: it is looked for again before each
write. Used by one thread.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import logging
import os
import re
import select
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from torchloom_api.torchserve.telemetry.log_layout import to_strftime
from torchloom_api.torchserve.telemetry.log_plan import Rolling


_log = logging.getLogger(__name__)

_DATE: Final = re.compile(r"%d(?:\{([^}]*)\})?")

#: Another server that writes here has noticed by then that its file was put aside.
_SETTLE_S: Final = 1.0

#: A pipe whose reader takes nothing for so long, in seconds, cannot be written.
_PIPE_S: Final = 1.0


class RollingFile:
    """Appends to a file, which is made with its folder when there is something to write."""

    def __init__(
        self,
        path: Path,
        rolling: Rolling,
        *,
        now: Callable[[], float] = time.time,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self.path = path
        self._rolling = rolling
        self._now = now
        self._settle_s = settle_s
        self._file: int | None = None
        self._packing: list[threading.Thread] = []

    def open(self) -> None:
        """Make the file, if it is not there. Raises OSError."""
        self._find()

    def write(self, data: bytes) -> None:
        """Append lines. Raises OSError, with some of them written."""
        file = self._find()
        if self._is_due(os.fstat(file)):
            self._put_aside(os.fstat(file).st_mtime)
            file = self._find()
        while data:
            try:
                data = data[os.write(file, data) :]
            except BlockingIOError:  # a pipe whose reader is slower
                if not _has_room(file):
                    raise

    def close(self) -> None:
        """Close it, and wait for what is being packed."""
        self._let_go()
        for thread in self._packing:
            thread.join()

    def _find(self) -> int:
        """Give the file that has the name now."""
        if self._file is not None and not _is_at(self._file, self.path):
            self._let_go()
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A pipe that nobody reads is not waited for: it cannot be written then.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._file = os.open(self.path, flags, 0o644)
        return self._file

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _is_due(self, status: os.stat_result) -> bool:
        rolling = self._rolling
        if rolling.pattern is None or not status.st_size:
            return False
        if rolling.max_bytes is not None and status.st_size >= rolling.max_bytes:
            return True
        return rolling.is_daily and _day(status.st_mtime) != _day(self._now())

    def _put_aside(self, at: float) -> None:
        """Rename the file, and have it packed where its new name asks for that."""
        target = self._free_name(at)
        self._let_go()
        is_packed = target.suffix == ".gz"
        aside = target.with_suffix("") if is_packed else target
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another server has done it just now
            self.path.replace(aside)
        if is_packed:
            self._packing = [thread for thread in self._packing if thread.is_alive()]
            thread = threading.Thread(target=self._pack, args=(aside, target), name="log-packing")
            self._packing.append(thread)
            thread.start()

    def _pack(self, source: Path, target: Path) -> None:
        time.sleep(self._settle_s)
        part = target.with_name(f".{target.name}")
        try:
            with source.open("rb") as plain, gzip.open(part, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            part.replace(target)
            source.unlink()
        except OSError as error:
            part.unlink(missing_ok=True)
            _log.warning("%s stays as it is, unpacked: %s", source, error)

    def _free_name(self, at: float) -> Path:
        """Give the name to put it aside under; the oldest gives way if there are as many as may be.

        Where the pattern has no number, the second of a day gets one nevertheless: log4j would
        write over the first.
        """
        pattern = _DATE.sub(lambda match: _date(match[1], at), self._rolling.pattern or "")
        if "%i" not in pattern:
            whole = Path(pattern)
            stem, dot, ends = whole.name.partition(".log")
            numbered = str(whole.with_name(f"{stem}.%i{dot}{ends}"))
            names = [whole, *(_number(numbered, n) for n in range(2, self._rolling.max_files + 1))]
        else:
            names = [_number(pattern, n) for n in range(1, self._rolling.max_files + 1)]
        for name in names:
            if not _is_taken(name):
                return name
        for older, newer in itertools.pairwise(names):
            if newer.exists():
                newer.replace(older)
        return names[-1]


def check_pattern(pattern: str) -> None:
    """Refuse a pattern with a date that cannot be written. Raises InvalidLayout."""
    for java in _DATE.findall(pattern):
        to_strftime(java)


def _number(pattern: str, number: int) -> Path:
    return Path(pattern.replace("%i", str(number)))


def _is_taken(name: Path) -> bool:
    """Tell whether there is such a file, or will be once it is packed."""
    return name.exists() or (name.suffix == ".gz" and name.with_suffix("").exists())


def _date(java: str | None, at: float) -> str:
    return time.strftime(to_strftime(java or "yyyy-MM-dd"), time.localtime(at))


def _day(at: float) -> tuple[int, int]:
    moment = time.localtime(at)
    return moment.tm_year, moment.tm_yday


def _has_room(pipe: int) -> bool:
    """Wait until a pipe takes something; tell whether it does."""
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    return bool(poll.poll(_PIPE_S * 1000))


def _is_at(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    return os.path.samestat(os.fstat(file), there)
