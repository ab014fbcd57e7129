"""KServe's protocols, v1 and v2 (the Open Inference Protocol), for every model."""
