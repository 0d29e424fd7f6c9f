"""Truth: inference, beliefs, decisions."""
