"""Every broker adapter, held to one specification."""
