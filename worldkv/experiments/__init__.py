"""Comparisons, real runs, sweeps, promotions and calibration as functions."""
