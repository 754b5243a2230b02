"""Bundles of weights with their cards and the hashes of what they were trained on."""
