"""`ts.handler_utils.distributed`: what handlers of several processes call as they load."""
