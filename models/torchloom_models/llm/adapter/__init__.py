"""LoRA adapters of a language model: files, places, and the layers that mix them."""
