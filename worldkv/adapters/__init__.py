"""A WorldCache under other libraries' models: one adapter a module, each imported by its own name."""
