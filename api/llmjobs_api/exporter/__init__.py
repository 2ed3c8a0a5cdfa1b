"""The exporter: the store's truth as Prometheus metrics."""
