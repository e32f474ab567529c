"""Neural network parts: encoders, heads, recurrent cores and initialisation."""
