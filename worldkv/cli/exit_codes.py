"""Exit codes of the program `worldkv`."""

FINE = 0
NOT_MET = 1
"""A check failed, records differ, rows failed or a policy is not promoted."""
BAD_INPUT = 2
INTERRUPTED = 130
"""Stopped by ctrl-c."""
CLOSED_PIPE = 141
"""The reader of standard output closed it; the shell's own code for that."""
