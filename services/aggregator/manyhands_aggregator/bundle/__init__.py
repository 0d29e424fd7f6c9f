"""The result bundle: a folder from which a job's answers can be checked and computed again, without any service."""
