"""Trained agents on the Hugging Face Hub: what is pushed, and how another person's agent is pulled without its code."""
