"""How TorchLoom is reached: HTTP, command line; the composition root."""
