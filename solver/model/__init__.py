"""The network: `network` reads from top to bottom, `config` has the sizes. Imports torch only."""

from solver.model.blocks import Block
from solver.model.config import MODELS, ModelConfig
from solver.model.network import Network, Step
from solver.model.stacking import pick, stack, unstack

__all__ = ["MODELS", "Block", "ModelConfig", "Network", "Step", "pick", "stack", "unstack"]
