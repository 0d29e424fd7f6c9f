"""The ``manyhands`` command."""
