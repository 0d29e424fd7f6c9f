"""Handlers that the tests serve."""
