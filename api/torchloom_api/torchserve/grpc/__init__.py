"""TorchServe's services over gRPC: a second face of what its HTTP routes do."""
