"""`ts.torch_handler.unit_tests.test_utils.mock_context`: a context for users' own tests."""

from __future__ import annotations

import uuid
from typing import Any

import torch

from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.ts.utils.util import get_yaml_config


class MockContext:
    """Stands in for the context of a server."""

    def __init__(
        self,
        model_pt_file: str = "model.pt",
        model_dir: str = ".",
        model_file: str | None = "model.py",
        gpu_id: str | None = "0",
        model_name: str = "mnist",
        model_yaml_config_file: str | None = None,
        limit_max_image_pixels: bool = True,  # noqa: FBT001, FBT002 - the same
    ) -> None:
        model = {"modelName": model_name, "serializedFile": model_pt_file, "modelFile": model_file}
        self.manifest: dict[str, Any] = {"model": {k: v for k, v in model.items() if v}}
        has_gpu = torch.cuda.is_available() and gpu_id is not None
        self.system_properties: dict[str, Any] = {
            "model_dir": model_dir,
            "gpu_id": gpu_id if has_gpu else None,
            "limit_max_image_pixels": limit_max_image_pixels,
        }
        self.model_name = model_name
        self.explain = False
        self.metrics = MetricsCache(model_name)
        self.model_yaml_config: dict[str, Any] = (
            get_yaml_config(model_yaml_config_file) if model_yaml_config_file else {}
        )
        self.request_ids = {0: str(uuid.uuid4())}
        self.model_yaml_config_file = model_yaml_config_file

    def get_request_header(self, idx: int, exp: str) -> str | None:  # noqa: ARG002 - the context's face
        """Tell what is asked for."""
        return str(self.explain) if exp == "explain" else None

    def get_request_id(self, idx: int = 0) -> str | None:
        """Give the id of a request."""
        return self.request_ids.get(idx)
