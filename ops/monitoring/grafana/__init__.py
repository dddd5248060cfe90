"""Grafana's dashboards: three tables of panels, and the JSON that is made from them."""
