"""TorchServe's face of TorchLoom: its configuration, its command line, its HTTP API."""
