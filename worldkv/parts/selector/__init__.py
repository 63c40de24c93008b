"""Selectors: choose chunks by their scores or coverage."""
