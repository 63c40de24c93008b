"""Where in time attended chunks stand, one rule a file."""
