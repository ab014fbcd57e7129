"""`ts.torch_handler.vllm_handler`: is not there, since it is vLLM that it runs.

Archives whose handler is this very name are models of kind `llm`, and never come here. Those that
subclass `VLLMHandler` need TorchServe's own package, which takes this one's place, and vLLM.
"""

from __future__ import annotations


_MESSAGE = "VLLMHandler is TorchServe's own, and runs vLLM: neither is here."

raise ModuleNotFoundError(_MESSAGE, name="vllm")
