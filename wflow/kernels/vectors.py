"""Short vectors of float64 that stay in registers, for sums over the taps of a spline.

Numba unrolls a loop over four numbers before LLVM could make one vector operation of it, and leaves the pass that would
find it afterwards off. Here such a vector is one value: spreading and reading 10⁶ particles in the plane takes half the
time. Products and sums may be contracted to fused ones.

Numba's cache looks at the file of a kernel alone: after a change here or in `taps`, delete `__pycache__/*.nb?`.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

_FLAGS = ("contract", "nsz")


class Vector(types.Type):
    """Numba's type of `length` float64 in one value."""

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__(name=f"Vector({length})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.DoubleType(), kind.length))


def constant(numbers: Any) -> Any:
    """An LLVM constant of these numbers, for intrinsics."""
    return ir.Constant(ir.VectorType(ir.DoubleType(), len(numbers)), [float(number) for number in numbers])


def repeated(builder: Any, number: Any, length: int) -> Any:
    """A vector of one number in every place, for intrinsics."""
    none = ir.Constant(ir.VectorType(ir.DoubleType(), length), ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), length), None))


def multiply_add(builder: Any, a: Any, x: Any, y: Any) -> Any:
    """a x + y of vectors, for intrinsics."""
    return builder.fadd(builder.fmul(a, x, flags=_FLAGS), y, flags=_FLAGS)


def _check(array: Any) -> None:
    """A view that is strided, or of another type, would be read past what it holds."""
    flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    if not flat or array.dtype != types.float64:
        raise TypingError(f"a vector is loaded from and stored to flat, contiguous float64, not {array}")


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, length: int) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(ir.DoubleType(), length)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _load(typingctx: Any, array: Any, index: Any, taps: Any) -> Any:
    """array[index], array[index + 1] …, as many as there are taps, of a flat array."""
    length = taps.count
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], length), align=8)

    return Vector(length)(array, types.uint64, taps), codegen


def _store(typingctx: Any, array: Any, index: Any, x: Any) -> Any:
    """Put the vector to array[index] and on, in a flat array."""
    _check(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature.args[0], args[0], args[1], x.length), align=8)
        return context.get_dummy_value()

    return types.void(array, types.uint64, x), codegen


def _full(typingctx: Any, number: Any, taps: Any) -> Any:
    """A vector of one number for every tap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return repeated(builder, args[0], taps.count)

    return Vector(taps.count)(types.float64, taps), codegen


def _axpy(typingctx: Any, a: Any, x: Any, y: Any) -> Any:
    """a x + y for a number a."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, repeated(builder, args[0], x.length), args[1], args[2])

    return x(types.float64, x, x), codegen


def _scaled(typingctx: Any, a: Any, x: Any) -> Any:
    """a x for a number a."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(repeated(builder, args[0], x.length), args[1], flags=_FLAGS)

    return x(types.float64, x), codegen


def _dot(typingctx: Any, x: Any, y: Any) -> Any:
    """The inner product, a number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        products, real = builder.fmul(*args, flags=_FLAGS), ir.DoubleType()
        kind = ir.FunctionType(real, [real, products.type])
        name = f"llvm.vector.reduce.fadd.v{x.length}f64"
        total = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(total, [ir.Constant(real, -0.0), products], fastmath=("reassoc", *_FLAGS))

    return types.float64(x, x), codegen


def _pick(typingctx: Any, x: Any, index: Any) -> Any:
    """The number at a place of the vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(*args)

    return types.float64(x, types.uint64), codegen


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
full: Any = intrinsic(_full)
axpy: Any = intrinsic(_axpy)
scaled: Any = intrinsic(_scaled)
dot: Any = intrinsic(_dot)
pick: Any = intrinsic(_pick)
