"""A job's figures as one page of HTML that needs nothing else: no network, no scripts."""
