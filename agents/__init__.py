"""Learning algorithms, their memories and their networks.

This package imports only torch, numpy and the standard library.
"""
