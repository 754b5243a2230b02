"""Candidate grids with votes and likelihoods, and the rules that rank them; knows nothing of models."""

from voting.candidates import Candidate, Pool, append_pool, load_pools, save_pools
from voting.rules import RULES, two_attempts

__all__ = ["RULES", "Candidate", "Pool", "append_pool", "load_pools", "save_pools", "two_attempts"]
