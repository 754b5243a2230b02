"""Candidate grids with votes and likelihoods, and the rules that rank them; knows nothing of models."""

from voting.candidates import Candidate, Pool
from voting.copies import merged
from voting.files import append_copy, load_copies, load_pools, parse_pool, pool_record, save_pools
from voting.lines import append_lines, read_lines
from voting.rules import RULES, two_attempts

__all__ = [
    "RULES",
    "Candidate",
    "Pool",
    "append_copy",
    "append_lines",
    "load_copies",
    "load_pools",
    "merged",
    "parse_pool",
    "pool_record",
    "read_lines",
    "save_pools",
    "two_attempts",
]
