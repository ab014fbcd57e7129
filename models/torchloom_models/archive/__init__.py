"""Archives of TorchServe (`.mar`): reading them, and running their handlers as engines."""
