"""Models of other libraries under worldkv's policies: one module a library, imported by its name.

Each imports its library when it is called; `worldkv.adapters` by itself imports none.
"""
