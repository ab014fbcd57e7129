"""`ts.torch_handler.distributed`: bases of handlers whose workers are several processes."""
