"""The viewer: an agent plays games, and each step is shown with the agent's input and output."""
