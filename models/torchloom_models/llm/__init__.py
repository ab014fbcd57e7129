"""The kind `llm`: causal language models behind admit/step/cancel, batched continuously."""
