"""The aggregator, on real stores and with deliveries by hand."""
