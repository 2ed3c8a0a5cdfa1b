"""The Celery worker that streams from an engine."""
