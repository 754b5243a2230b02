"""Pretraining: what is trained on, how the loop steps are supervised, and the loop itself."""
