"""TorchServe's API over one handler whose author is at work on it."""
