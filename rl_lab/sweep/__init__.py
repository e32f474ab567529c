"""Sweeps: grids and searches of many runs, on one machine or a cluster, with Ray Tune."""
