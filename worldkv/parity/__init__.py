"""Simulator against tensors, record by record."""
