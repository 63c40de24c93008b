"""Which points a camera sees."""
