"""The fault tier."""
