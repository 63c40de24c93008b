"""The checks of the first day with a GPU: each one measures, and says what was expected and what to conclude."""
