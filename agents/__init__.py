"""How to learn: algorithms, their memory and their eyes. Imports torch and numpy, never an environment, a file or a logger."""
