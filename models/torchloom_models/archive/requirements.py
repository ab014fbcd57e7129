"""Requirements: packages that an archive asks for, installed for it and nowhere else.

Runs pip, which runs what it installs: only where the operator has allowed that.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torchloom.errors import ModelLoadError
from torchloom_models.artefact import digest_of_text


_log = logging.getLogger(__name__)

#: The environment of an archive that has one, in its folder.
_VENV: Final = "venv"

#: What stands between the words of a file of requirements, some of which are names of files.
_BETWEEN: Final = re.compile(r"[\s=]+")

#: Of what pip says, as much is told: its last lines, but for those that only advertise.
_MAX_SAID: Final = 1000
_NUM_LINES: Final = 3
_NOTICE: Final = "[notice]"


def install(folder: Path, file: Path, *, model: str, has_venv: bool) -> None:
    """Install what a file of requirements lists. Raises ModelLoadError with pip's last lines.

    Without an environment of its own, everything lies in `folder`; with one, which lies there, only
    what this server's packages do not have already. Paths in the file are those beside it.
    """
    folder, file = folder.absolute(), file.absolute()
    beside = file.parent
    if not file.is_file():
        message = f"The requirements {file.name!r} of model {model!r} are not in the archive."
        raise ModelLoadError(message)
    if not has_venv:
        pip = [sys.executable, "-m", "pip", "install", "-U", "-t", str(folder), "-r", str(file)]
        _run(pip, beside, f"Custom pip package installation failed for model {model}")
        return
    made = [sys.executable, "-m", "venv", "--clear", str(folder / _VENV)]
    _run(made, folder, f"Virtual environment creation failed for model {model}")
    parents = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    link = packages_of(folder) / "parent.pth"
    link.write_text("".join(f"{each}\n" for each in dict.fromkeys(parents)))
    python = str(folder / _VENV / "bin" / "python")
    only = ["--upgrade-strategy", "only-if-needed"]
    pip = [python, "-m", "pip", "install", "-U", *only, "-r", str(file)]
    _run(pip, beside, f"Custom pip package installation failed for model {model}")


def state_of(file: Path, *, has_venv: bool) -> str:
    """Give a digest of all in an archive that decides what `install` does.

    Of files that the requirements name, wheels and further requirements, size and time count.
    """
    if not file.is_file():
        return ""
    text = file.read_text("utf-8", errors="backslashreplace")
    named = [file.parent / word for word in _BETWEEN.split(text) if word]
    # os.path, for a word may be longer than a name, or hold what no name does.
    found = [each.stat() for each in named if os.path.isfile(each)]  # noqa: PTH113
    states = [f"{each.st_size} {each.st_mtime_ns} {each.st_ino}" for each in found]
    return digest_of_text(file.name, str(has_venv), text, *states)


def has_own_packages(config: Mapping[str, object]) -> bool:
    """Tell whether a configuration asks for an environment of the archive's own."""
    return str(config.get("useVenv", False)).lower() == "true"


def packages_of(folder: Path) -> Path:
    """Give where the packages of an environment in a folder are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / _VENV / "lib" / version / "site-packages"


def _run(command: list[str], folder: Path, failure: str) -> None:
    done = subprocess.run(  # noqa: S603 - pip and venv of this interpreter, with the operator's leave
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode:
        _log.error("%s: %s", failure, said)
        raise ModelLoadError(f"{failure}: {_last_lines(said)}")
    _log.info("%s", said[-_MAX_SAID:])


def _last_lines(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    told = [line for line in lines if line and not line.startswith(_NOTICE)]
    return " ".join(told[-_NUM_LINES:])[-_MAX_SAID:]
