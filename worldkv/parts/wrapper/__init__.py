"""Wrappers: change when or how an index is asked."""
