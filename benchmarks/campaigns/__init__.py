"""Fault campaigns: kill, fill disks, flip bits, run long, share folders; each is a module, and writes a JSON of counts.

`docs/reliability.md` has their figures; `make campaigns` runs all of them.
"""
