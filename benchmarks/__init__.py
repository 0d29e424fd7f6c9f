"""How fast it is, measured against a plain loop, Celery and Dramatiq: ``python -m benchmarks``."""
