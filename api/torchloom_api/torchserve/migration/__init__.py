"""Migration: what a TorchServe installation has, in TorchLoom's files. Changes nothing of it."""
