"""`ts.utils.hf_utils`: a model of the hub, in a folder."""

from __future__ import annotations

from typing import Final

from huggingface_hub import snapshot_download


#: What of a repository is fetched: weights, tokenizers and configurations.
_WANTED: Final = (
    *("*.json", "*.txt", "*.model", "original/*"),
    *("*.safetensors", "*.bin", "*.pt", "*.pth"),
)


def download_model(
    model_id: str = "meta-llama/Meta-Llama-3.1-8B-Instruct",
    revision: str = "main",
    model_path: str = ".cache",
    use_auth_token: bool | str = True,  # noqa: FBT001, FBT002 - TorchServe's own face
) -> str:
    """Fetch a repository below `model_path`, and give the folder of its snapshot.

    `use_auth_token`: a token, or whether to use the one that is logged in. Raises what the hub's
    client raises.
    """
    return snapshot_download(
        repo_id=model_id,
        revision=revision,
        allow_patterns=list(_WANTED),
        cache_dir=model_path,
        token=use_auth_token or False,
    )


__all__ = ["download_model"]
