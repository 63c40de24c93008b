"""Metrics of a rollout: recall of landmarks and of attention."""
