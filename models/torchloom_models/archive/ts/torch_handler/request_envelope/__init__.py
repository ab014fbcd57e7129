"""`ts.torch_handler.request_envelope`: the bodies of a protocol for handlers, and back."""
