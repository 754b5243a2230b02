"""How many floating-point operations a network takes, counted from its configuration."""

from __future__ import annotations

from solver.model.config import ModelConfig


def block_flops(model: ModelConfig, length: int, cells: int) -> float:
    """Floating-point operations of one block on so many tokens, of which so many are cells: products and convolutions,
    as torch.utils.flop_counter counts them."""
    products = 2 * length * (4 * model.width**2 + 3 * model.width * model.hidden)
    attention = 4 * length**2 * model.width
    if model.mixer == "mlp":
        products, attention = products - 8 * length * model.width**2, 6 * length**2 * model.width
    return products + attention + 18 * cells * model.hidden * model.convolution


def forward_flops(model: ModelConfig, size: int, *, trained: bool = False) -> float:
    """Floating-point operations of one canvas of `size` through all loop steps. With `trained` those of the backward
    pass are there too: twice as many for all that a gradient goes through."""
    cells = (size // model.patch) ** 2
    block = block_flops(model, model.tokens(size), cells)
    ends = 2 * cells * model.width * 12 * model.patch**2 + 2 * model.width * (model.supervision == "halting")
    read = 0.0
    if model.program_tokens:
        shown, width = model.examples * cells, model.width
        read = 4 * shown * width**2 + 4 * model.program_tokens * width * (width + shown)
        read += model.examples * model.encoder_blocks * block_flops(model, cells, cells)
    if not trained:
        return model.loops * (model.passes * block + ends) + read
    reads = model.loops if model.detached else 1
    return model.loops * ((model.passes + 2 * model.trained_passes) * block + 3 * ends) + 3 * reads * read
