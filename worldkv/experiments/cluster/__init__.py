"""Run a sweep's tasks on a cluster of Ray or Dask; see docs/scale.md."""
