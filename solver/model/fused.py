"""Passes of the network that a CPU does better in one sweep than torch in ten: norms, attention, the gate with its
convolution. For speed only: the network can be understood without opening this file, which is longer than 300 lines
so that it is one.

Each public function has the values and gradients, up to rounding, of plain torch code that stands in `blocks` and
`network`, which is its specification: tests/test_fused.py compares them. Activations are float32
or bfloat16; sums are float32. The loops are compiled by numba for the processor at hand, once, and kept beside this
file, or in the user's cache, wherever there is a place to keep them. A pass runs in one thread.

Arrays in the loops are flat; bfloat16 travels as uint16. R: images (tasks x batch), N: tasks, L: tokens, D: width, E:
width inside the gated MLP, H: heads, S: side of the token grid, P: prefix tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from torch import Tensor

EPS = float(torch.finfo(torch.float32).eps)
"""What `torch.rms_norm` adds to the mean square by default."""

_enabled = True


def usable(x: Tensor) -> bool:
    """Whether these passes are for activations like `x`."""
    return _enabled and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within, the network uses plain torch code; for tests and benchmarks."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def _compiled(function: Callable[..., Any], fastmath: set[str]) -> Any:
    """The function as machine code, kept between runs wherever there is a place to keep it."""
    how: Any = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
    try:
        return njit(cache=True, **how)(function)
    except RuntimeError:  # the installation and the user's cache are both read-only
        return njit(**how)(function)


def _exact(function: Callable[..., Any]) -> Any:
    """Compiled as it is written, but that a product and a sum may be one operation."""
    return _compiled(function, {"contract"})


def _fast(function: Callable[..., Any]) -> Any:
    """Compiled with sums in any order, which is what lets them use vectors."""
    return _compiled(function, {"contract", "reassoc", "nsz", "arcp"})


def _finite(function: Callable[..., Any]) -> Any:
    """Compiled as if every number were one, which is what lets a maximum use vectors."""
    return _compiled(function, {"nnan", "nsz", "reassoc"})


# Reading and writing float32, and bfloat16 as uint16.


@intrinsic
def _float_of(typing: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), emit


@intrinsic
def _bits_of(typing: Any, value: Any) -> Any:
    """The 32 bits of a float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), emit


@intrinsic
def _rounded(typing: Any, bits: Any) -> Any:
    """The upper half of 32 bits of a float, rounded to nearest even."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole, word = ir.IntType(32), arguments[0]
        odd = builder.and_(builder.lshr(word, whole(16)), whole(1))
        word = builder.add(builder.add(word, whole(0x7FFF)), odd)
        return builder.trunc(builder.lshr(word, whole(16)), ir.IntType(16))

    return types.uint16(types.uint32), emit


@intrinsic
def _widened(typing: Any, half: Any) -> Any:
    """The float32 whose upper half is this uint16."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.zext(arguments[0], ir.IntType(32))
        return builder.bitcast(builder.shl(word, ir.IntType(32)(16)), ir.FloatType())

    return types.float32(types.uint16), emit


@intrinsic
def _power(typing: Any, whole: Any) -> Any:
    """Two to the power of a whole float32 between -126 and 127."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        exponent = builder.add(builder.fptosi(arguments[0], word), word(127))
        return builder.bitcast(builder.shl(exponent, word(23)), ir.FloatType())

    return types.float32(types.float32), emit


@intrinsic
def _whole(typing: Any, value: Any) -> Any:
    """A float32 rounded towards zero."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(builder.fptosi(arguments[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.float32), emit


def _get(array: Any, i: int) -> Any:
    """Element i as a float32."""


@overload(_get, strict=False)
def _typed_get(array: Any, i: Any) -> Any:
    if array.dtype == types.uint16:
        return lambda array, i: _widened(array[i])
    return lambda array, i: array[i]


def _put(array: Any, i: int, value: float) -> None:
    """Stores a float32 as element i."""


@overload(_put, strict=False)
def _typed_put(array: Any, i: Any, value: Any) -> Any:
    if array.dtype == types.uint16:

        def put(array: Any, i: Any, value: Any) -> None:
            array[i] = _rounded(_bits_of(np.float32(value)))
    else:

        def put(array: Any, i: Any, value: Any) -> None:
            array[i] = value

    return put


# Eight float32 at once, where loops are too short for the compiler to see to it.


class _Lanes(types.Type):
    """The type of eight float32 in one register (or two)."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES, VECTOR = _Lanes(), ir.VectorType(ir.FloatType(), 8)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VECTOR)


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The address of eight elements of an array, from the given one on, and whether they are bfloat16."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    half = signature.args[0].dtype == types.uint16
    kind = ir.VectorType(ir.IntType(16), 8) if half else VECTOR
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer()), half


@intrinsic
def _load(typing: Any, array: Any, i: Any) -> Any:
    """Eight elements from number i on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, half = _place(context, builder, signature, arguments)
        value = builder.load(place, align=2 if half else 4)
        if half:
            words = ir.VectorType(ir.IntType(32), 8)
            value = builder.bitcast(builder.shl(builder.zext(value, words), words([16] * 8)), VECTOR)
        return value

    return LANES(array, types.int64), emit


@intrinsic
def _store(typing: Any, array: Any, i: Any, value: Any) -> Any:
    """Puts eight values at element i and after."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, half = _place(context, builder, signature, arguments)
        value = arguments[2]
        if half:
            words = ir.VectorType(ir.IntType(32), 8)
            word = builder.bitcast(value, words)
            odd = builder.and_(builder.lshr(word, words([16] * 8)), words([1] * 8))
            word = builder.add(builder.add(word, words([0x7FFF] * 8)), odd)
            value = builder.trunc(builder.lshr(word, words([16] * 8)), ir.VectorType(ir.IntType(16), 8))
        builder.store(value, place, align=2 if half else 4)
        return context.get_dummy_value()

    return types.none(array, types.int64, LANES), emit


def _splat(builder: Any, value: Any, kind: Any = VECTOR) -> Any:
    """A vector of one value, in code to be emitted."""
    word, nothing = ir.IntType(32), ir.Constant(kind, ir.Undefined)
    value = builder.insert_element(nothing, value, word(0))
    return builder.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(word, kind.count), [0] * kind.count))


def _fused_product(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c of vectors, in code to be emitted."""
    kind, name = ir.FunctionType(a.type, [a.type] * 3), f"llvm.fmuladd.v{a.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


@intrinsic
def _all(typing: Any, value: Any) -> Any:
    """Eight times a float32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return LANES(types.float32), emit


@intrinsic
def _sum(typing: Any, lanes: Any) -> Any:
    """The sum of eight values."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, word = arguments[0], ir.IntType(32)
        for apart in (4, 2, 1):
            order = ir.Constant(ir.VectorType(word, 8), [(i + apart) % 8 for i in range(8)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, order))
        return builder.extract_element(value, word(0))

    return types.float32(LANES), emit


@intrinsic
def _mul(typing: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return LANES(LANES, LANES), emit


@intrinsic
def _sub(typing: Any, a: Any, b: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments)

    return LANES(LANES, LANES), emit


@intrinsic
def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fused_product(builder, *arguments)

    return LANES(LANES, LANES, LANES), emit


F0, F1, F126 = np.float32(0), np.float32(1), np.float32(126.5)
LOG2E, LN2 = np.float32(1.44269504), np.float32(0.693147181)
C2, C3, C4, C5, C6 = (np.float32(1 / n) for n in (2, 6, 24, 120, 720))
LEAST, MOST = np.float32(-87), np.float32(88)
BEYOND = np.float32(1e30)


@_exact
def _exp(x: float) -> float:
    """e^x within 4e-7 of itself: a power of two times a polynomial. Every operation is one that has a vector form."""
    x = LEAST if x < LEAST else x  # what is not a number stays so
    x = MOST if x > MOST else x
    n = _whole(x * LOG2E + F126) - np.float32(126)
    f = (x * LOG2E - n) * LN2
    series = F1 + f * (F1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    value: float = series * _power(n)
    return value


@_fast
def _sigmoid(x: float) -> float:
    value: float = F1 / (F1 + _exp(-x))
    return value


def _flat(tensor: Tensor) -> np.ndarray:
    """The elements of a contiguous tensor, float32 or bfloat16, as a flat array on the same memory."""
    tensor = tensor.detach().reshape(-1)
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


# RMS norm, alone or with what stands beside it.


@_fast
def _norm_rows(
    x: np.ndarray,
    added: np.ndarray,
    steps: np.ndarray,
    y: np.ndarray,
    roots: np.ndarray,
    images: int,
    tasks: int,
    length: int,
    skip: int,
    width: int,
) -> None:
    """y (R, L - skip, D) <- x (R, L, D) normalised, without the first `skip` tokens; where `added` (R, L, D) is not
    empty, plus `added` and `steps` (N, D). `roots`: what each row was multiplied by."""
    for image in range(images):
        task = image * tasks // images
        for token in range(skip, length):
            begin = (image * length + token) * width
            place = image * (length - skip) + token - skip
            row, out = x[begin : begin + width], y[place * width : (place + 1) * width]
            square = F0
            for j in range(width):
                value = _get(row, j)
                square += value * value
            root = F1 / np.sqrt(square / np.float32(width) + np.float32(EPS))
            roots[place] = root
            if len(added):
                more, step = added[begin : begin + width], steps[task * width : (task + 1) * width]
                for j in range(width):
                    _put(out, j, _get(row, j) * root + _get(more, j) + step[j])
            else:
                for j in range(width):
                    _put(out, j, _get(row, j) * root)


@_fast
def _norm_back(
    dy: np.ndarray,
    x: np.ndarray,
    roots: np.ndarray,
    passed: np.ndarray,
    dx: np.ndarray,
    images: int,
    length: int,
    skip: int,
    width: int,
) -> None:
    """dx (R, L, D) <- the gradient of the normalised rows, dy (R, L - skip, D), taken back to x; plus `passed`
    (R, L, D) where it is not empty."""
    for image in range(images):
        for token in range(length):
            begin = (image * length + token) * width
            out = dx[begin : begin + width]
            if token < skip:
                for j in range(width):
                    _put(out, j, F0)
                continue
            place = image * (length - skip) + token - skip
            row, gradient = x[begin : begin + width], dy[place * width : (place + 1) * width]
            dot = F0
            for j in range(width):
                dot += _get(row, j) * _get(gradient, j)
            root = roots[place]
            along = root * root * root * dot / np.float32(width)
            if len(passed):
                other = passed[begin : begin + width]
                for j in range(width):
                    _put(out, j, root * _get(gradient, j) - along * _get(row, j) + _get(other, j))
            else:
                for j in range(width):
                    _put(out, j, root * _get(gradient, j) - along * _get(row, j))


NONE = np.zeros(0, dtype=np.float32)


def _no(like: np.ndarray) -> np.ndarray:
    return like[:0]


class _Norm(torch.autograd.Function):
    """With `branch` also the input itself, whose gradient is then added in the same pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, skip: int, branch: bool) -> Any:
        x = x.contiguous()
        *images, length, width = x.shape
        count = x[..., 0, 0].numel()
        y = x.new_empty(*images, length - skip, width)
        roots = torch.empty(count * (length - skip))
        flat = _flat(x)
        _norm_rows(flat, _no(flat), NONE, _flat(y), roots.numpy(), count, 1, length, skip, width)
        ctx.save_for_backward(x, roots)
        ctx.skip = skip
        return (x.view_as(x), y) if branch else y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, roots = ctx.saved_tensors
        length, width = x.shape[-2:]
        dx = torch.empty_like(x)
        dy = _flat(gradients[-1].contiguous())
        passed = _flat(gradients[0].contiguous()) if len(gradients) == 2 else _no(dy)
        _norm_back(
            dy, _flat(x), roots.numpy(), passed, _flat(dx), x.numel() // length // width, length, ctx.skip, width
        )
        return dx, None, None


def norm(x: Tensor, skip: int = 0) -> Tensor:
    """`blocks.norm(x[..., skip:, :])` of x (..., L, D)."""
    normal: Tensor = _Norm.apply(x, skip, False)
    return normal


def branch(x: Tensor) -> tuple[Tensor, Tensor]:
    """x and `blocks.norm(x)`, of x (..., L, D)."""
    both: tuple[Tensor, Tensor] = _Norm.apply(x, 0, True)
    return both


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, added: Tensor, step: Tensor) -> Tensor:
        x, added, step = x.contiguous(), added.contiguous(), step.float().contiguous()
        tasks, batch, length, width = x.shape
        y, roots = torch.empty_like(x), torch.empty(tasks * batch * length)
        arrays = (_flat(x), _flat(added), _flat(step), _flat(y), roots.numpy())
        _norm_rows(*arrays, tasks * batch, step.numel() // width, length, 0, width)
        ctx.save_for_backward(x, roots)
        ctx.shape = step.shape
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, roots = ctx.saved_tensors
        tasks, batch, length, width = x.shape
        dx, flat = torch.empty_like(x), _flat(dy.contiguous())
        _norm_back(flat, _flat(x), roots.numpy(), _no(flat), _flat(dx), tasks * batch, length, 0, width)
        dstep = dy.float().sum((1, 2)) if len(ctx.shape) > 1 else dy.float().sum((0, 1, 2))
        return dx, dy, dstep


def inject(x: Tensor, added: Tensor, step: Tensor) -> Tensor:
    """`blocks.norm(x) + added + step` of x, added (N, B, L, D) and step (D,), or (N, D) for a stack."""
    injected: Tensor = _Inject.apply(x, added, step)
    return injected


# The gate with its 3x3 depthwise convolution.


@_fast
def _convolve(
    out: np.ndarray, padded: np.ndarray, taps: np.ndarray, first: int, place: int, row: int, width: int, sign: int
) -> None:
    """out (E,) <- the sum over the nine neighbours of a cell of the taps (9, E), from `first` on, times `padded`
    (..., E), in which the cell has the number `place` and the cell below it `place + row`; `sign` -1 turns the taps by
    half a turn."""
    for j in range(0, width, 8):
        total = _all(F0)
        for y in range(-1, 2):
            middle, tap = (place + y * row) * width + j, first + (4 + sign * 3 * y) * width + j
            total = _fma(_load(padded, middle - width), _load(taps, tap - sign * width), total)
            total = _fma(_load(padded, middle), _load(taps, tap), total)
            total = _fma(_load(padded, middle + width), _load(taps, tap + sign * width), total)
        _store(out, j, total)


@_fast
def _pad(padded: np.ndarray, up: np.ndarray, image: int, length: int, side: int, width: int) -> None:
    """The values of the cells of an image of `up` (R, L, 2E), in the middle of `padded` (S + 2, S + 2, E)."""
    for cell in range(side * side):
        begin = ((image * length + length - side * side + cell) * 2 + 1) * width
        place = (cell // side + 1) * (side + 2) + cell % side + 1
        row, out = up[begin : begin + width], padded[place * width : (place + 1) * width]
        for j in range(width):
            out[j] = _get(row, j)


@_fast
def _gate_rows(
    up: np.ndarray, taps: np.ndarray, out: np.ndarray, images: int, tasks: int, length: int, side: int, width: int
) -> None:
    """out (R, L, E) <- silu(gate) * mixed, gate and value being the halves of up (R, L, 2E), mixed the value in
    prefix tokens and its convolution with `taps` (N, 9, E) in cells."""
    padded = np.zeros((side + 2) * (side + 2) * width, dtype=np.float32)
    mixed = np.empty(width, dtype=np.float32)
    prefix = length - side * side
    for image in range(images):
        first = (image * tasks // images) * 9 * width
        _pad(padded, up, image, length, side, width)
        for token in range(length):
            begin = (image * length + token) * 2 * width
            gate = up[begin : begin + width]
            if token < prefix:
                value = up[begin + width : begin + 2 * width]
                for j in range(width):
                    mixed[j] = _get(value, j)
            else:
                cell = token - prefix
                place = (cell // side + 1) * (side + 2) + cell % side + 1
                _convolve(mixed, padded, taps, first, place, side + 2, width, 1)
            row = out[begin // 2 : begin // 2 + width]
            for j in range(width):
                g = _get(gate, j)
                _put(row, j, g * _sigmoid(g) * mixed[j])


@_fast
def _gate_row_back(
    dout: np.ndarray, gate: np.ndarray, mixed: np.ndarray, dgate: np.ndarray, dmixed: np.ndarray
) -> None:
    for j in range(len(mixed)):
        g, d = _get(gate, j), _get(dout, j)
        s = _sigmoid(g)
        _put(dgate, j, d * mixed[j] * s * (F1 + g * (F1 - s)))
        dmixed[j] = d * g * s


@_fast
def _gate_back(
    dout: np.ndarray,
    up: np.ndarray,
    taps: np.ndarray,
    dup: np.ndarray,
    dtaps: np.ndarray,
    images: int,
    tasks: int,
    length: int,
    side: int,
    width: int,
) -> None:
    """The gradients dup (R, L, 2E), and dtaps (N, 9, E), to which is added, of `_gate_rows` for dout (R, L, E)."""
    row = side + 2
    padded = np.zeros(row * row * width, dtype=np.float32)
    slope = np.zeros(row * row * width, dtype=np.float32)  # dmixed of the cells, padded likewise
    mixed = np.empty(width, dtype=np.float32)
    prefix = length - side * side
    for image in range(images):
        first = (image * tasks // images) * 9 * width
        _pad(padded, up, image, length, side, width)
        for token in range(length):
            begin = (image * length + token) * 2 * width
            gate, dgate = up[begin : begin + width], dup[begin : begin + width]
            above = dout[begin // 2 : begin // 2 + width]
            if token < prefix:
                value, dvalue = up[begin + width : begin + 2 * width], dup[begin + width : begin + 2 * width]
                dmixed = slope[:width]  # a corner of the border, put back to zero below
                for j in range(width):
                    mixed[j] = _get(value, j)
                _gate_row_back(above, gate, mixed, dgate, dmixed)
                for j in range(width):
                    _put(dvalue, j, dmixed[j])
            else:
                cell = token - prefix
                place = (cell // side + 1) * row + cell % side + 1
                _convolve(mixed, padded, taps, first, place, row, width, 1)
                _gate_row_back(above, gate, mixed, dgate, slope[place * width : (place + 1) * width])
        for j in range(width):
            slope[j] = F0
        for cell in range(side * side):
            place = (cell // side + 1) * row + cell % side + 1
            _convolve(mixed, slope, taps, first, place, row, width, -1)
            begin = ((image * length + prefix + cell) * 2 + 1) * width
            dvalue = dup[begin : begin + width]
            for j in range(width):
                _put(dvalue, j, mixed[j])
        for y in range(1, side + 1):
            for j in range(0, width, 8):
                begin = (y * row + 1) * width + j
                for dy in range(3):
                    tap = first + dy * 3 * width + j
                    left, middle, right = _load(dtaps, tap), _load(dtaps, tap + width), _load(dtaps, tap + 2 * width)
                    for x in range(side):
                        place = begin + x * width
                        value, beside = _load(slope, place), place + (dy - 1) * row * width
                        left = _fma(value, _load(padded, beside - width), left)
                        middle = _fma(value, _load(padded, beside), middle)
                        right = _fma(value, _load(padded, beside + width), right)
                    _store(dtaps, tap, left)
                    _store(dtaps, tap + width, middle)
                    _store(dtaps, tap + 2 * width, right)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, up: Tensor, conv: Tensor, side: int) -> Tensor:
        up = up.contiguous()
        tasks, batch, length, width = up.shape
        taps = conv.detach().float().reshape(-1, width // 2, 9).transpose(1, 2).contiguous()
        taps[:, 4] += 1.0  # the value itself is added to its convolution
        out = up.new_empty(tasks, batch, length, width // 2)
        _gate_rows(_flat(up), _flat(taps), _flat(out), tasks * batch, len(taps), length, side, width // 2)
        ctx.save_for_backward(up, taps)
        ctx.shape, ctx.side = conv.shape, side
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        up, taps = ctx.saved_tensors
        tasks, batch, length, width = up.shape
        dup, dtaps = torch.empty_like(up), torch.zeros_like(taps)
        arrays = (_flat(dout.contiguous()), _flat(up), _flat(taps), _flat(dup), _flat(dtaps))
        _gate_back(*arrays, tasks * batch, len(taps), length, ctx.side, width // 2)
        return dup, dtaps.transpose(1, 2).reshape(ctx.shape), None


def gate(up: Tensor, conv: Tensor, side: int) -> Tensor:
    """`silu(gate) * (value + depthwise(value))` (N, B, L, E) of the halves of up (N, B, L, 2E), the convolution, with
    `conv` (E, 3, 3) or (N, E, 3, 3), over the cells alone."""
    gated: Tensor = _Gate.apply(up, conv, side)
    return gated


# Attention. Products are made of tiles of four rows that stay in registers: of sixteen columns, or, where registers
# hold sixteen numbers, of thirty-two.


def _tile_of(vectors: int, lanes: int = 8) -> Any:
    """The intrinsic `tile(c, a, b, count, a_row, a_step, b_row, c_row)`: C <- A B for four rows of C and `lanes` x
    `vectors` columns. The first three are addresses of float32; A[r, k] lies at `r a_row + k a_step`, B[k, j] at
    `k b_row + j`, for k below `count`, and C[r, j] at `r c_row + j`."""
    wide = ir.VectorType(ir.FloatType(), lanes)

    @intrinsic
    def tile(typing: Any, c: Any, a: Any, b: Any, count: Any, a_row: Any, a_step: Any, b_row: Any, c_row: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            single = ir.FloatType()
            c, a, b, count, a_row, a_step, b_row, c_row = arguments
            whole, zeros = count.type, ir.Constant(wide, [0.0] * lanes)
            c, a, b = (builder.inttoptr(address, single.as_pointer()) for address in (c, a, b))

            def vector_at(base: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(base, [offset]), wide.as_pointer())

            sums = [[cgutils.alloca_once(builder, wide) for _ in range(vectors)] for _ in range(4)]
            for row in sums:
                for slot in row:
                    builder.store(zeros, slot)
            with cgutils.for_range(builder, count) as loop:
                right = []
                for j in range(vectors):
                    begin = builder.add(builder.mul(loop.index, b_row), whole(lanes * j))
                    right.append(builder.load(vector_at(b, begin), align=4))
                for r, row in enumerate(sums):
                    place = builder.add(builder.mul(loop.index, a_step), builder.mul(whole(r), a_row))
                    left = _splat(builder, builder.load(builder.gep(a, [place])), wide)
                    for j, slot in enumerate(row):
                        builder.store(_fused_product(builder, left, right[j], builder.load(slot)), slot)
            for r, row in enumerate(sums):
                for j, slot in enumerate(row):
                    place = builder.add(builder.mul(whole(r), c_row), whole(lanes * j))
                    builder.store(builder.load(slot), vector_at(c, place), align=4)
            return context.get_dummy_value()

        return types.none(*[types.int64] * 8), emit

    return tile


_tile_32, _tile_16, _tile_8 = _tile_of(2, 16), _tile_of(2), _tile_of(1)

WIDE = get_host_cpu_features().get("avx512f", False)
"""Whether a register of this processor holds sixteen float32."""


@_fast
def _rows_product(
    c: int, a: int, b: int, columns: int, count: int, a_row: int, a_step: int, b_row: int, c_row: int
) -> None:
    """Four rows of C <- A B; addresses and strides as for a tile, `columns` a multiple of eight."""
    begin = 0
    if WIDE:
        begin = columns // 32 * 32
        for j in range(0, begin, 32):
            _tile_32(c + 4 * j, a, b + 4 * j, count, a_row, a_step, b_row, c_row)
    for j in range(begin, columns - 8, 16):
        _tile_16(c + 4 * j, a, b + 4 * j, count, a_row, a_step, b_row, c_row)
    if columns % 16:
        j = columns - 8
        _tile_8(c + 4 * j, a, b + 4 * j, count, a_row, a_step, b_row, c_row)


@_fast
def _turned(
    qkv: np.ndarray,
    begin: int,
    cos: np.ndarray,
    sin: np.ndarray,
    angle: int,
    out: np.ndarray,
    place: int,
    head: int,
    factor: float,
) -> None:
    """out (head,) at `place` <- x (head,), at `begin` of qkv, made of unit mean square, its halves turned against each
    other by the angles at `angle`, times `factor`."""
    half = head // 2
    square = _all(F0)
    for j in range(0, head, 8):
        x = _load(qkv, begin + j)
        square = _fma(x, x, square)
    scale = _all(factor / np.sqrt(_sum(square) / np.float32(head) + np.float32(EPS)))
    for j in range(0, half, 8):
        a, b = _mul(_load(qkv, begin + j), scale), _mul(_load(qkv, begin + half + j), scale)
        c, s = _load(cos, angle + j), _load(sin, angle + j)
        _store(out, place + j, _sub(_mul(a, c), _mul(b, s)))
        _store(out, place + half + j, _fma(a, s, _mul(b, c)))


@_fast
def _turned_back(
    gradient: np.ndarray,
    place: int,
    qkv: np.ndarray,
    begin: int,
    cos: np.ndarray,
    sin: np.ndarray,
    angle: int,
    out: np.ndarray,
    head: int,
    factor: float,
) -> float:
    """out (head,), at `begin` as x, <- the gradient of x under `_turned`, for the `gradient` at `place`, which is
    overwritten; returns that of `factor`."""
    half = head // 2
    square, dot = _all(F0), _all(F0)
    for j in range(0, half, 8):
        x, y = _load(qkv, begin + j), _load(qkv, begin + half + j)
        a, b = _load(gradient, place + j), _load(gradient, place + half + j)
        c, s = _load(cos, angle + j), _load(sin, angle + j)
        a, b = _fma(a, c, _mul(b, s)), _sub(_mul(b, c), _mul(a, s))
        _store(gradient, place + j, a)
        _store(gradient, place + half + j, b)
        square = _fma(x, x, _fma(y, y, square))
        dot = _fma(x, a, _fma(y, b, dot))
    root = F1 / np.sqrt(_sum(square) / np.float32(head) + np.float32(EPS))
    along = _all(root * root * _sum(dot) / np.float32(head))
    scale = _all(root * factor)
    for j in range(0, head, 8):
        _store(out, begin + j, _mul(scale, _sub(_load(gradient, place + j), _mul(along, _load(qkv, begin + j)))))
    gain: float = root * _sum(dot)
    return gain


@_fast
def _read(
    qkv: np.ndarray,
    begin: int,
    step: int,
    cos: np.ndarray,
    sin: np.ndarray,
    factor: float,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    across: np.ndarray,
    length: int,
    head: int,
    other_across: bool,
) -> None:
    """Queries, keys and values (L, head) of one head of one image; `across` (head, padded L) is a transpose, of the
    values with `other_across`, else of the keys. `begin`: where the image's queries of this head begin, `step`: from
    there to its keys."""
    half, padded = head // 2, len(across) // head
    for token in range(length):
        first, place = begin + token * 3 * step, token * head
        _turned(qkv, first, cos, sin, token * half, q, place, head, factor)
        _turned(qkv, first + step, cos, sin, token * half, k, place, head, factor)
        for j in range(0, head, 8):
            _store(v, place + j, _load(qkv, first + 2 * step + j))
    source = v if other_across else k
    for j in range(head):
        for token in range(length):
            across[j * padded + token] = source[token * head + j]


@_finite
def _largest(row: np.ndarray) -> float:
    largest: float = row[0]
    for j in range(len(row)):
        largest = max(largest, row[j])
    return largest


@_fast
def _attend_rows(
    qkv: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    factors: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
    images: int,
    tasks: int,
    length: int,
    heads: int,
    head: int,
) -> None:
    """out (R, L, D) <- the attention of qkv (R, L, 3, H, head), queries and keys normalised, turned by `cos` and `sin`
    (L, head / 2) and multiplied by `factors` (N, H). `weights` (R, H, L, L rounded up to eight): the softmax, kept for
    the gradient, or of one image's size, and then written anew for every head."""
    padded = (length + 7) // 8 * 8
    rows_of = np.zeros((4, padded * head), dtype=np.float32)
    q, k, v, mixed = rows_of[0], rows_of[1], rows_of[2], rows_of[3]
    across = np.zeros(head * padded, dtype=np.float32)
    rows = np.zeros(4 * padded, dtype=np.float32)
    keep = len(weights) > 0
    step = heads * head
    for image in range(images):
        task = image * tasks // images
        for h in range(heads):
            begin = image * length * 3 * step + h * head
            _read(qkv, begin, step, cos, sin, factors[task * heads + h], q, k, v, across, length, head, False)
            for i in range(0, length, 4):
                _rows_product(
                    rows.ctypes.data,
                    q.ctypes.data + 4 * i * head,
                    across.ctypes.data,
                    padded,
                    head,
                    head,
                    1,
                    padded,
                    padded,
                )
                for r in range(min(4, length - i)):
                    # All of the row, so that no loop has a rest: what is beyond the tokens counts for nothing.
                    row = rows[r * padded : (r + 1) * padded]
                    for j in range(length, padded):
                        row[j] = -BEYOND
                    largest, total = _largest(row), F0
                    for j in range(padded):
                        row[j] = _exp(row[j] - largest)
                    for j in range(length, padded):
                        row[j] = F0
                    for j in range(padded):
                        total += row[j]
                    scale = F1 / total
                    for j in range(padded):
                        row[j] *= scale
                    if keep:
                        place = (((image * heads + h) * length) + i + r) * padded
                        for j in range(0, padded, 8):
                            _store(weights, place + j, _load(rows, r * padded + j))
                _rows_product(
                    mixed.ctypes.data + 4 * i * head,
                    rows.ctypes.data,
                    v.ctypes.data,
                    head,
                    length,
                    padded,
                    1,
                    head,
                    head,
                )
            for token in range(length):
                place = (image * length + token) * step + h * head
                for j in range(0, head, 8):
                    _store(out, place + j, _load(mixed, token * head + j))


@_fast
def _attend_back(
    dout: np.ndarray,
    qkv: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    factors: np.ndarray,
    weights: np.ndarray,
    dqkv: np.ndarray,
    dfactors: np.ndarray,
    images: int,
    tasks: int,
    length: int,
    heads: int,
    head: int,
) -> None:
    """The gradients dqkv (R, L, 3, H, head), and dfactors (N, H), to which is added, of `_attend_rows`, for
    dout (R, L, D)."""
    padded = (length + 7) // 8 * 8
    rows_of = np.zeros((7, padded * head), dtype=np.float32)
    q, k, v, dmixed, dq, dk, dv = rows_of[0], rows_of[1], rows_of[2], rows_of[3], rows_of[4], rows_of[5], rows_of[6]
    across = np.zeros(head * padded, dtype=np.float32)
    slope = np.zeros(padded * padded, dtype=np.float32)
    step, half = heads * head, head // 2
    for image in range(images):
        task = image * tasks // images
        for h in range(heads):
            begin = image * length * 3 * step + h * head
            factor = factors[task * heads + h]
            _read(qkv, begin, step, cos, sin, factor, q, k, v, across, length, head, True)
            for token in range(length):
                place = (image * length + token) * step + h * head
                for j in range(0, head, 8):
                    _store(dmixed, token * head + j, _load(dout, place + j))
            kept = weights[(image * heads + h) * length * padded : (image * heads + h + 1) * length * padded]
            for i in range(0, length, 4):
                _rows_product(
                    slope.ctypes.data + 4 * i * padded,
                    dmixed.ctypes.data + 4 * i * head,
                    across.ctypes.data,
                    padded,
                    head,
                    head,
                    1,
                    padded,
                    padded,
                )
                for r in range(i, min(i + 4, length)):
                    row, weight = slope[r * padded : (r + 1) * padded], kept[r * padded : (r + 1) * padded]
                    dot = F0
                    for j in range(padded):
                        dot += row[j] * weight[j]
                    for j in range(padded):
                        row[j] = weight[j] * (row[j] - dot)
                _rows_product(
                    dq.ctypes.data + 4 * i * head,
                    slope.ctypes.data + 4 * i * padded,
                    k.ctypes.data,
                    head,
                    length,
                    padded,
                    1,
                    head,
                    head,
                )
            for j in range(0, length, 4):
                _rows_product(
                    dk.ctypes.data + 4 * j * head,
                    slope.ctypes.data + 4 * j,
                    q.ctypes.data,
                    head,
                    length,
                    1,
                    padded,
                    head,
                    head,
                )
                _rows_product(
                    dv.ctypes.data + 4 * j * head,
                    kept.ctypes.data + 4 * j,
                    dmixed.ctypes.data,
                    head,
                    length,
                    1,
                    padded,
                    head,
                    head,
                )
            total = F0
            for token in range(length):
                first = begin + token * 3 * step
                for part in range(2):
                    total += _turned_back(
                        dk if part else dq,
                        token * head,
                        qkv,
                        first + part * step,
                        cos,
                        sin,
                        token * half,
                        dqkv,
                        head,
                        factor,
                    )
                for j in range(0, head, 8):
                    _store(dqkv, first + 2 * step + j, _load(dv, token * head + j))
            dfactors[task * heads + h] += total


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, sharpness: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        qkv, heads = qkv.contiguous(), sharpness.shape[-1]
        tasks, batch, length, width = qkv.shape
        head = width // heads // 3
        cos, sin = cos.float().contiguous(), sin.float().contiguous()
        factors = (sharpness.detach().float() * head**-0.5).contiguous()
        out = qkv.new_empty(tasks, batch, length, heads * head)
        kept = tasks * batch * heads * length * ((length + 7) // 8 * 8) if ctx.needs_input_grad[0] else 0
        weights = torch.empty(kept)
        arrays = [_flat(tensor) for tensor in (qkv, cos, sin, factors, weights, out)]
        _attend_rows(*arrays, tasks * batch, factors.numel() // heads, length, heads, head)
        ctx.save_for_backward(qkv, factors, cos, sin, weights)
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:
        qkv, factors, cos, sin, weights = ctx.saved_tensors
        tasks, batch, length, width = qkv.shape
        heads = factors.shape[-1]
        head = width // heads // 3
        dqkv, dfactors = torch.empty_like(qkv), torch.zeros_like(factors)
        arrays = [_flat(t) for t in (dout.contiguous(), qkv, cos, sin, factors, weights, dqkv, dfactors)]
        _attend_back(*arrays, tasks * batch, factors.numel() // heads, length, heads, head)
        return dqkv, dfactors * head**-0.5, None, None


def attention(qkv: Tensor, sharpness: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """What `blocks.Attention` makes of its products qkv (N, B, L, 3D), before the last one: (N, B, L, D). `sharpness`
    (H,) or (N, H), `cos` and `sin` (L, head / 2) from `blocks.rotary_table`."""
    mixed: Tensor = _Attention.apply(qkv, sharpness, cos, sin)
    return mixed
