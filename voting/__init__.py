"""Candidate grids with votes and likelihoods, and the rules that rank them; knows nothing of models."""

from voting.candidates import Candidate, Pool
from voting.copies import merged
from voting.files import append_copy, load_copies, load_pools, parse_pool, pool_record, save_pools
from voting.lines import append_lines, read_lines
from voting.opinions import give_opinion
from voting.rules import ALL_RULES, RULES, two_attempts

__all__ = [
    "ALL_RULES",
    "RULES",
    "Candidate",
    "Pool",
    "append_copy",
    "append_lines",
    "give_opinion",
    "load_copies",
    "load_pools",
    "merged",
    "parse_pool",
    "pool_record",
    "read_lines",
    "save_pools",
    "two_attempts",
]
