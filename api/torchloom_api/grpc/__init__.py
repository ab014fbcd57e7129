"""Services over gRPC, in the server's own process and event loop."""
