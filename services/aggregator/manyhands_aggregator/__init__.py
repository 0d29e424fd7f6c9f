"""The aggregator: validates judgments, decides answers, ends jobs, exports, and files what was set aside."""
