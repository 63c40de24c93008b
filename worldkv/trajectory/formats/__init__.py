"""Readers of recorded paths, one format a file."""
