"""TorchServe's services over gRPC: a second face of what its HTTP routes do."""

# Before gRPC itself: it says how that is to be set up.
import torchloom_api.grpc  # noqa: F401
