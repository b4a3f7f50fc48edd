"""Metrics, logs and trace context: how the service is seen from outside."""
