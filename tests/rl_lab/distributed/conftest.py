"""The fixture `cluster` for the tests of this folder. Each test file starts a cluster of its own."""

from sweep_cluster import cluster  # noqa: F401
