"""Stored chunks on host and disk."""
