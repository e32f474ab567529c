"""Watching agents play: a game with its screen, a picture of what the agent sees and thinks, and places to show it."""
