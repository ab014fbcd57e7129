"""`python -m torchloom_api.cli`: the same as `torchloom`, where scripts are not on the path."""

from __future__ import annotations

from torchloom_api.cli.program import main


main(prog_name="torchloom")
