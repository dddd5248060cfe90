"""Grafana dashboards, Prometheus rules and Alertmanager settings."""
