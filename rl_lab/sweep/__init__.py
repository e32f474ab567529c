"""Many runs at once, on one machine or on many: grids and searches, carried by Ray."""
