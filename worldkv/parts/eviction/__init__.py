"""Eviction rules: which chunks stay in the window."""
