"""LogOrder: what logs are wanted, so that the server and the process that writes them agree.

Knows no event: it is asked for a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torchloom_api.torchserve.telemetry.log_plan import LogPlan, default_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOrder:
    """Where logs go. Paths are texts: an order travels as JSON.

    `config`: a file in log4j's words, in place of TorchServe's own plan. `is_on_console`: what the
    plan has for standard output is written there; its files are in either case.
    """

    logs: str
    metrics: str
    config: str | None = None
    is_on_console: bool = False

    def plan(self) -> tuple[LogPlan, list[str]]:
        """Give the plan, and what of its file is passed over. Raises InvalidLogConfig."""
        plan, notes = self._whole_plan()
        if self.is_on_console:
            return plan, notes
        files = {name: each for name, each in plan.appenders.items() if each.path is not None}
        return replace(plan, appenders=files), notes

    def _whole_plan(self) -> tuple[LogPlan, list[str]]:
        if self.config is not None:
            from torchloom_api.torchserve.telemetry.log4j import (  # noqa: PLC0415 - few have such a file
                read_log_config,
            )

            return read_log_config(Path(self.config))
        return default_plan(Path(self.logs), Path(self.metrics)), []
