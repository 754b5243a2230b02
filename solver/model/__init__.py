"""The network: blocks, how they are looped, how a task conditions them. No input or output here."""

from solver.model.config import MODELS, ModelConfig
from solver.model.network import Network
from solver.model.stacking import stack, unstack

__all__ = ["MODELS", "ModelConfig", "Network", "stack", "unstack"]
