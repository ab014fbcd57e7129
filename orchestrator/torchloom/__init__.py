"""The core of TorchLoom: decides and runs. Knows no framework, no YAML and no HTTP."""
