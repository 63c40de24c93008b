"""The engine: asks a policy, checks its answers, moves chunks and counts."""
