"""Archives whose handler is TorchServe's for vLLM or TensorRT-LLM, as language models."""
