"""The systems of the field as choices of one network: each recursion against a slow second formulation of it, one
sample at a time; stacks against copies alone; what cannot be combined."""

import pytest
import torch
import torch.nn.functional as F
from small import SYSTEMS, given, inputs, shaken

from solver.model import MODELS, ModelConfig, Network, stack, unstack
from solver.model.blocks import rotary_table


def rms(x):
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()


def slow_mixing(block, x, side, kind):
    """Attention or token MLP of one sample (L, D), head by head and token by token."""
    layer = block.attention
    if not hasattr(layer, "qkv"):
        columns = [F.silu((c @ layer.up)[: len(c)]) * (c @ layer.up)[len(c) :] @ layer.down for c in x.T]
        return torch.stack(columns, 1)
    width, heads = x.shape[1], layer.heads
    head = width // heads
    cos, sin = rotary_table(side, len(x) - side * side, head, x.dtype, x.device, kind)
    mixed = []
    for h in range(heads):
        q, k, v = ((x @ layer.qkv)[:, part * width + h * head :][:, :head] for part in range(3))
        turned = []
        for vector in (rms(q), rms(k)):
            a, b = vector[:, : head // 2], vector[:, head // 2 :]
            turned.append(torch.cat([a * cos - b * sin, a * sin + b * cos], 1) * layer.sharpness[h] / head**0.5)
        mixed.append((turned[0] @ turned[1].T).softmax(1) @ v)
    return torch.cat(mixed, 1) @ layer.out


def slow_mlp(layer, x, side):
    gate, value = (x @ layer.up).chunk(2, 1)
    if layer.conv is not None:
        value, prefix = value.clone(), len(x) - side * side
        image = value[prefix:].reshape(side, side, -1)
        padded = F.pad(image, (0, 0, 1, 1, 1, 1))
        value[prefix:] += sum(
            padded[i : i + side, j : j + side] * layer.conv[:, i, j] for i in range(3) for j in range(3)
        ).reshape(side * side, -1)
    return (F.silu(gate) * value) @ layer.down


def slow_block(block, x, side, config):
    if config.style == "post":
        x = rms(x + slow_mixing(block, x, side, config.rotary))
        return rms(x + slow_mlp(block.mlp, x, side))
    x = x + slow_mixing(block, rms(x), side, config.rotary)
    return x + slow_mlp(block.mlp, rms(x), side)


def slow_embedding(table, canvas):
    """A token (D,) for every patch of 2 x 2 cells of one canvas."""
    side = len(canvas) // 2
    return torch.stack(
        [
            sum(table[12 * (2 * dy + dx) + canvas[2 * i + dy, 2 * j + dx]] for dy in (0, 1) for dx in (0, 1))
            for i in range(side)
            for j in range(side)
        ]
    )


def slow_program(network, examples):
    """Latent queries over the cells of all pairs, one latent and one head at a time."""
    layer, config, keys, values = network.program, network.config, [], []
    for shown, answer in examples:
        pair = slow_embedding(network.cell, shown) + slow_embedding(layer.output_cell, answer)
        for block in layer.blocks:
            pair = slow_block(block, pair, len(shown) // 2, config)
        key, value = (rms(pair) @ layer.key_value).chunk(2, 1)
        keys.append(key)
        values.append(value)
    key, value, head = torch.cat(keys), torch.cat(values), config.width // config.heads
    program = []
    for latent in layer.latents:
        parts = []
        for h in range(config.heads):
            part = slice(h * head, (h + 1) * head)
            score = rms(key[:, part]) @ rms((rms(latent) @ layer.query)[part]) * layer.sharpness[h] / head
            parts.append(score.softmax(0) @ value[:, part])
        program.append(latent + torch.cat(parts) @ layer.out)
    return torch.stack(program)


def slow_steps(network, canvas, element, palette, examples):
    """Logits (8, 8, 12) and halting logits of one sample after every loop step."""
    config, conditioning = network.config, network.conditioning
    tokens = conditioning.tasks[0].reshape(config.task_tokens, config.width) + conditioning.position
    prefix = [tokens + conditioning.element[element], network.cell[palette] + conditioning.name]
    if config.program_tokens:
        prefix.append(slow_program(network, examples))
    x = torch.cat([*prefix, slow_embedding(network.cell, canvas)])

    def net(state):
        for block in network.recursion.blocks:
            state = slow_block(block, state, 4, config)
        return state if config.style == "post" or config.recursion == "looped" else rms(state)

    y, z = torch.zeros_like(x), torch.zeros_like(x)
    for loop in range(config.loops):
        if config.recursion == "looped":
            y = net((rms(y) if loop else y) + x + network.recursion.step[loop])
        else:
            for _ in range(config.cycles):
                for _ in range(config.inner):
                    z = net(x + y + z)
                y = net(y + z)
        cells = (rms(y)[config.prefix :] @ network.head).reshape(4, 4, 2, 2, 12)
        halt = None if network.halting is None else rms(y)[0] @ network.halting.weight[:, 0] + network.halting.bias[0]
        yield torch.cat([torch.cat(list(row), 1) for row in cells]), halt


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_recursion_is_that_of_the_slow_formulation(name):
    network = shaken(SYSTEMS[name])
    (canvas, task, elements, palettes), how = given(network.config)
    with torch.no_grad():
        steps = list(network.steps(canvas, task, elements, palettes, **how))
        assert len(steps) == network.config.loops
        for b in range(2):
            examples = None if how["examples"] is None else how["examples"][0, b]
            slow = slow_steps(network, canvas[0, b], elements[0, b], palettes[0, b], examples)
            for fast, (logits, halt) in zip(steps, slow, strict=True):
                torch.testing.assert_close(fast.logits[0, b], logits, rtol=1e-3, atol=1e-4)
                assert (halt is None) == (fast.halt is None)
                if halt is not None:
                    torch.testing.assert_close(fast.halt[0, b], halt, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_stack_of_a_system_gives_what_its_copies_give_alone(name):
    config = SYSTEMS[name]
    stacked = stack(shaken(config), 3)
    with torch.no_grad():
        for p in stacked.parameters():
            p.add_(0.1 * torch.randn_like(p))
        views, how = given(config, copies=3)
        together = list(stacked.steps(*views, **how))
        for n in range(3):
            part = {"examples": None if how["examples"] is None else how["examples"][n : n + 1]}
            alone = unstack(stacked, n).steps(*(v[n : n + 1] for v in views), **part)
            for a, b in zip(alone, together, strict=True):
                torch.testing.assert_close(a.logits[0], b.logits[n], rtol=1e-3, atol=1e-3)
                if b.halt is not None:
                    torch.testing.assert_close(a.halt[0], b.halt[n], rtol=1e-3, atol=1e-3)


def test_trm_has_a_gradient_through_its_last_cycle_only_and_goes_on_from_states():
    network = shaken(SYSTEMS["trm"])
    views, _ = given(network.config)
    whole = list(network.steps(*views, detach=True))
    first = next(network.steps(*views, loops=1))
    rest = list(network.steps(*views, loops=2, states=first.states))
    for a, b in zip(whole, [first, *rest], strict=True):
        torch.testing.assert_close(a.logits, b.logits)
    assert whole[0].states[0].grad_fn is not whole[1].states[0].grad_fn
    # The same last cycle, begun from states that are constants, has the same gradient.
    network.zero_grad()
    whole[0].logits.square().mean().backward()
    got = network.recursion.blocks[0].mlp.up.grad.clone()
    with torch.no_grad():
        network.recursion.cycles = network.config.cycles - 1
        states = next(network.steps(*views, loops=1)).states
    network.recursion.cycles = 1
    network.zero_grad()
    next(network.steps(*views, loops=1, states=states)).logits.square().mean().backward()
    torch.testing.assert_close(network.recursion.blocks[0].mlp.up.grad, got)


def test_the_order_of_examples_does_not_matter_to_a_program():
    network = shaken(SYSTEMS["ierm"])
    views, how = given(network.config)
    a = list(network(*views, **how))[-1]
    b = list(network(*views, examples=how["examples"].flip(2)))[-1]
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    c = list(network(*views, examples=how["examples"].flip(3)))[-1]  # inputs for outputs
    assert not torch.allclose(a, c, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recursion": "hrm"}, "recursion 'hrm' is none of looped, trm"),
        ({"recursion": "trm"}, "recursion 'trm' needs halting, dis or detached"),
        ({"supervision": "halting"}, "needs recursion 'trm'"),
        ({"inner": 2}, "inner 2 are for recursion 'trm'"),
        ({"mixer": "mlp"}, "one canvas size"),
        ({"canvas": 16}, "one canvas size"),
        ({"mixer": "mlp", "canvas": 16, "program_tokens": 4}, "a program encoder needs attention"),
        ({"task_tokens": 0}, "nothing would say which task"),
    ],
)
def test_what_cannot_be_combined_is_refused_in_a_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        ModelConfig(**change)
    assert "\n" not in str(error.value)


def test_a_mixer_over_tokens_refuses_another_canvas():
    network = Network(SYSTEMS["trm-mlp"])
    with pytest.raises(ValueError, match="is for canvases of 8 alone"):
        list(network(*inputs(1, 1, 12)))


def test_named_systems_are_as_large_as_published_or_as_the_bundled_network():
    count = {name: sum(p.numel() for p in Network(c, 1).parameters()) for name, c in MODELS.items()}
    assert all(count[name] <= count["nano"] for name in ("trm-nano", "trm-mlp-nano", "dis-nano", "ierm-nano"))
    millions = {name: count[name] / 1e6 for name in ("trm", "trm-mlp", "dis-small", "ierm")}
    assert millions == pytest.approx({"trm": 7, "trm-mlp": 5, "dis-small": 0.8, "ierm": 4.9}, rel=0.1)
