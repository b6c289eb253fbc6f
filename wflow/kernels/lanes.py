"""What LLVM can do and Numba does not say: fused multiply-adds, the widest vectors, calls by address."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once: the same bits on every machine, which the compiler's own contraction would not give."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), codegen


def _widest(typingctx: Any) -> Any:
    """Let the loops of this function use the widest vectors there are.

    LLVM keeps to 256 bits on processors that have 512, since early ones slowed down; Philox takes 1.4 ns with the
    wide ones where it takes 2.1 (Sapphire Rapids). No bit of the results depends on it, as nothing is reassociated.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        attributes = builder.function.attributes
        # llvmlite's own `add` knows attributes without values only; another llvmlite may do without the hint.
        if isinstance(attributes, set):
            set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def _call_block(typingctx: Any, address: Any, x: Any, t: Any, factor: Any, out: Any, table: Any) -> Any:
    """Call `void f(double *x, double t, double factor, double *out, double *table)`, all pointers given as integers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real, pointer = ir.DoubleType(), ir.DoubleType().as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, real, real, pointer, pointer])
        function = builder.inttoptr(args[0], kind.as_pointer())
        here, there, data = (builder.inttoptr(args[k], pointer) for k in (1, 4, 5))
        builder.call(function, [here, args[2], args[3], there, data])
        return context.get_dummy_value()

    whole, real = types.int64, types.float64
    return types.void(whole, whole, real, real, whole, whole), codegen


fma: Any = intrinsic(_fma)
widest: Any = intrinsic(_widest)
call_block: Any = intrinsic(_call_block)
