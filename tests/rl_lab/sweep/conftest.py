"""The Ray cluster is started once for all tests of a file."""

from sweep_cluster import cluster  # noqa: F401
