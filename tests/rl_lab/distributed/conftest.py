"""The cluster is made once for all tests of a file."""

from sweep_cluster import cluster  # noqa: F401
