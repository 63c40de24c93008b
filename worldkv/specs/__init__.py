"""Spec strings: text to policies and back."""
