"""Workflows of TorchServe: archives (`.war`) become graphs and models of the one registry."""
