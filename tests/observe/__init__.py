"""What Prometheus and Grafana are given, tried on services that run."""
