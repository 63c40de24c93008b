"""Adapters: a WorldCache under the models of other libraries, each file named after its library."""
