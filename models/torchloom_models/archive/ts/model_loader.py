"""`ts.model_loader`: loads a handler into the script that runs, for a debugger's sake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torchloom_models.archive.entry import find_entry
from torchloom_models.archive.envelope import wrap
from torchloom_models.archive.ts.service import Service


class ModelLoader:
    """What loads a model."""

    def load(
        self,
        model_name: str,
        model_dir: str,
        handler: str | None = None,
        gpu_id: int | None = None,
        batch_size: int | None = None,
        envelope: str | None = None,
        limit_max_image_pixels: bool = True,  # noqa: FBT001, FBT002 - TorchServe's own face
        metrics_cache: object = None,
    ) -> Service:
        """Import and initialise the handler of an unpacked archive.

        `handler` is a file of `model_dir` or of the paths of modules, `file:function`, or a
        built-in one; None is that of the manifest. Raises InvalidModel and ModelLoadError.
        """
        folder = Path(model_dir).resolve()
        file = folder / "MAR-INF" / "MANIFEST.json"
        manifest: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        service = Service(
            model_name,
            model_dir,
            manifest,
            None,
            gpu_id,
            batch_size,
            limit_max_image_pixels,
            metrics_cache,
        )
        named = handler or manifest.get("model", {}).get("handler", "")
        entry = find_entry(folder, named, service.context)
        service.take(wrap(entry, envelope) if envelope else entry)
        return service


class TsModelLoader(ModelLoader):
    """The only loader that there is."""


class ModelLoaderFactory:
    """Gives the loader."""

    @staticmethod
    def get_model_loader() -> TsModelLoader:
        """Give the loader."""
        return TsModelLoader()


__all__ = ["ModelLoader", "ModelLoaderFactory", "TsModelLoader"]
