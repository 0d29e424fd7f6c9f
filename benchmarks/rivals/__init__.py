"""The same work done with Celery and with Dramatiq, each the way its own guide shows."""
