"""Engines, documents and a client for the tests of the API."""
