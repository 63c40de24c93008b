"""Saved worlds: a cache in a folder, to go on with in another process."""
