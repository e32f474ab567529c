"""Learning algorithms, their memories and their networks.

This package imports only torch, numpy and the standard library.

Docstrings write a tensor as dtype[shape]: f32[B, A] is a tensor of float32 with the shape [B, A], and f32[] one number.
f64, i32 and i64 stand for float64, int32 and int64.
"""
