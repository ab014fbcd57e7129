"""The kinds of model that TorchLoom serves, behind the engine contract."""
