"""The worker: handlers in child processes, suites in, judgments out."""
