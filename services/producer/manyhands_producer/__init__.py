"""The producer: reads sources, cuts them into suites, spools them and publishes them with confirms."""
