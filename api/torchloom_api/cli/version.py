"""`torchloom version`: versions of TorchLoom and of what it stands on. Imports none of them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import rich_click as click

from torchloom_api.cli.screen import print_json, print_table


_PACKAGES = ("torchloom", "torch", "transformers", "litestar", "qdrant-edge-py", "numpy")


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version_command(*, as_json: bool) -> None:
    """Print the versions that matter in a bug report."""
    found = {name: _version_of(name) for name in _PACKAGES}
    found["python"] = platform.python_version()
    found["platform"] = platform.platform()
    if as_json:
        print_json(found)
    else:
        print_table(("what", "version"), found.items())


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
