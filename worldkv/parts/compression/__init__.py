"""Compressions: which tokens of a chunk are stored."""
