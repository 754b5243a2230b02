"""Ballots: what every single view of a test input said, kept apart, so that one fine-tuning gives whole curves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from solver.arc.tasks import Grid, Task
from solver.learn.canvas import Placement, pack
from solver.learn.predict import PredictConfig, answers, draw_views, likelihoods, look
from solver.model import Network
from tta import Views
from voting import Pool


@dataclass(frozen=True, eq=False)
class Ballot:
    """The answers of V views to one test input after one loop step."""

    grids: list[Grid]  # the K different answers, first seen first
    votes: np.ndarray  # int64 (V,), which of them a view gave, -1 where its canvas was no grid
    log_prob: np.ndarray  # float64 (V,), mean nats per cell of that answer, 0 where there is none
    likelihood: np.ndarray  # float64 (K, V), nats, of every answer under every view
    # float64 (V,), the probability of being exact that the network gives its last answer; None for a network without a
    # halting head, and for earlier steps.
    halt: np.ndarray | None = None

    def pool(self, views: slice = slice(None), scored: int = 64) -> Pool:
        """The candidate pool of some of the views alone: they vote, and they score at most `scored` answers."""
        pool, number = Pool(), {}
        chosen = range(len(self.votes))[views]
        for view in chosen:
            vote = int(self.votes[view])
            if vote < 0:
                pool.add_undecoded()
            else:
                halt = None if self.halt is None else float(self.halt[view])
                number[id(pool.add(self.grids[vote], self.log_prob[view], halt))] = vote
        ranked = sorted(pool.candidates, key=lambda c: (-c.views, -c.mean_log_prob))[:scored]
        for candidate in ranked:
            total = self.likelihood[number[id(candidate)], views].sum()
            pool.add_likelihood(candidate.grid, min(0.0, total), len(chosen))
        return pool


@torch.no_grad()
def cast(
    network: Network,
    task: Task,
    test_index: int,
    size: int,
    config: PredictConfig,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    every_step: bool = False,
) -> list[Ballot]:
    """The ballot after every loop step, or after the last only, of a plain network on canvases of `size`.

    Views and places are those of `solver.learn.predict.predict` with the same arguments, and so is the last pool.
    """
    views, place = draw_views(task, test_index, size, config, seed)
    seen: list[list[torch.Tensor]] = []
    halts: list[torch.Tensor] = []
    for _, _, logits, halt in look(network, task, test_index, views, place, size, config, device=device, dtype=dtype):
        halts += [] if halt is None else [halt]
        seen.append([step[0].log_softmax(-1) for step in (logits if every_step else logits[-1:])])
    views, place = views.to(device), place.to(device)
    ballots = [counted(torch.cat(steps), views, place, size) for steps in zip(*seen, strict=True)]
    if halts:
        ballots[-1] = replace(ballots[-1], halt=torch.cat(halts).cpu().double().numpy())
    return ballots


def counted(log_probs: torch.Tensor, views: Views, place: Placement, size: int) -> Ballot:
    """The ballot of V views from their canvases' log-probabilities, (V, size, size, tokens)."""
    known: dict[tuple[tuple[int, ...], bytes], int] = {}
    grids: list[Grid] = []
    votes, log_prob = np.full(len(views), -1), np.zeros(len(views))
    for view, answer in enumerate(answers(log_probs, views, place)):
        if answer is None:
            continue
        grid, log_prob[view] = answer
        key = grid.shape, grid.tobytes()
        if key not in known:
            known[key] = len(grids)
            grids.append(grid)
        votes[view] = known[key]
    likelihood = np.zeros((0, len(views)))
    if grids:
        table = pack(grids, log_probs.device)
        likelihood = likelihoods(table, log_probs, views, place, size).cpu().double().numpy()
    return Ballot(grids, votes, log_prob, likelihood)
