"""`ts.model_service`."""
