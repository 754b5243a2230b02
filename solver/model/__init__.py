"""The network: blocks, how they are looped, how a task conditions them. No input or output here."""

from solver.model.config import MODELS, ModelConfig
from solver.model.network import Network
from solver.model.stacking import pick, stack, unstack

__all__ = ["MODELS", "ModelConfig", "Network", "pick", "stack", "unstack"]
