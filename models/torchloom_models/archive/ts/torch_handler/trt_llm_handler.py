"""`ts.torch_handler.trt_llm_handler`: is not there, since it is TensorRT-LLM that it runs.

Archives whose handler is this very name are models of kind `llm`, and never come here. Those that
subclass `TRTLLMHandler` need TorchServe's own package, which takes this one's place, and
TensorRT-LLM.
"""

from __future__ import annotations


_MESSAGE = "TRTLLMHandler is TorchServe's own, and runs TensorRT-LLM: neither is here."

raise ModuleNotFoundError(_MESSAGE, name="tensorrt_llm")
