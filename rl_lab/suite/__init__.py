"""Suites: studies that are described in a YAML file, their result files, and the page of results built from both."""
