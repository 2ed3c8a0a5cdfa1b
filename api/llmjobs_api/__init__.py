"""The HTTP gateway and the Prometheus exporter."""
