"""Scorers: a number for every token of a chunk."""
