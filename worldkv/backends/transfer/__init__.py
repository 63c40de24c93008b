"""Copies between device, host and disk."""
