"""The bank: stored chunks on the host and on disk."""
