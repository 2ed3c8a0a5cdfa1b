"""A day of a large pool, made up: the real scaling and fair scheduling, without machines."""
