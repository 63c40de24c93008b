"""Indices: score every banked chunk for a viewpoint."""
