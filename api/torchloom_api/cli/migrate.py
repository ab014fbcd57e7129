"""`torchloom migrate`: a TorchServe installation as TorchLoom's files. Changes nothing of it."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from torchloom_api.cli.screen import error_screen, screen


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("migrate")
@click.option(
    "--ts-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="config.properties, or a snapshot.",
)
@click.option("--model-store", type=_FOLDER, help="Folder of archives.  [default: the file's]")
@click.option("--workflow-store", type=_FOLDER, help="Folder of .war files.  [default: likewise]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("torchloom"),
    show_default=True,
    help="Folder to write; it must not be there yet.",
)
def migrate_command(
    *,
    ts_config: Path | None,
    model_store: Path | None,
    workflow_store: Path | None,
    output: Path,
) -> None:
    """Write model files, workflow files and settings for what a TorchServe has.

    Archives stay where they are. Whatever cannot be carried over is printed, and stands in
    MIGRATION.md of the new folder.
    """
    from torchloom_api.torchserve.config_loading import load_config  # noqa: PLC0415 - not for --help
    from torchloom_api.torchserve.migration.plan import make_plan  # noqa: PLC0415 - the same
    from torchloom_api.torchserve.migration.writing import write_plan  # noqa: PLC0415 - the same

    text = "" if ts_config is None else ts_config.read_text(encoding="latin-1")
    loaded = load_config(text, file=str(ts_config), environment=os.environ)
    models = model_store or _store_of(loaded.config.model_store, "--model-store")
    if models is None:
        message = "Name the model store: --model-store, or model_store in --ts-config."
        raise click.UsageError(message)
    workflows = workflow_store or _store_of(loaded.config.workflow_store, "--workflow-store")
    plan = make_plan(
        loaded, model_store=models, workflow_store=workflows or models, target=output.absolute()
    )
    write_plan(plan, output)
    for note in plan.notes:
        error_screen.print(str(note), markup=False, highlight=False, soft_wrap=True)
    for place in sorted(plan.documents):
        screen.print(str(output / place), markup=False, highlight=False, soft_wrap=True)


def _store_of(text: str | None, option: str) -> Path | None:
    if not text:
        return None
    store = Path(text)
    if not store.is_dir():
        message = f"The configuration names the folder {text}, which is not here: give {option}."
        raise click.UsageError(message)
    return store
