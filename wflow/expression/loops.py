"""Source of the loops over particles, for an expression whose `value` and `gradient` stand above it."""

from collections.abc import Sequence

from wflow.kernels.noise import BLOCK


def block_loops(axes: Sequence[int]) -> str:
    """Source of the loops over blocks, for an expression of the given axes."""
    shape, place = f"({max(axes, default=0) + 1}, {BLOCK})", "".join(f"place[{axis}, i], " for axis in axes)
    slopes = "".join(f"g{axis}, " for axis in axes)
    lines = [
        "@block",
        "def add_value(x, t, factor, out, table):",
        "    widest()",
        f"    place, total = carray(x, {shape}), carray(out, {BLOCK})",
        f"    for i in range({BLOCK}):",
        f"        total[i] += factor * value({place}t)",
        "",
        "",
        "@block",
        "def add_gradient(x, t, factor, out, table):",
        "    widest()",
        f"    place, total = carray(x, {shape}), carray(out, {shape})",
        f"    for i in range({BLOCK}):",
        *([f"        {slopes}= gradient({place}t)"] if axes else ["        pass"]),
        *(f"        total[{axis}, i] += factor * g{axis}" for axis in axes),
    ]
    return "\n".join(lines) + "\n"


def loops(axes: Sequence[int]) -> str:
    """Source of the loops over particles, for an expression of the given axes."""
    row, table = ("".join(f"{x}{axis}], " for axis in axes) for x in ("x[", "positions[i, "))
    slopes = "".join(f"g{axis}, " for axis in axes)
    rest = f"range({len(axes)}, d)" if list(axes) == list(range(len(axes))) else "range(d)"
    lines = [
        "@kernel",
        "def value_row(x, t):",
        f"    return value({row}t)",
        "",
        "",
        "@kernel",
        "def gradient_row(x, t, out):",
        "    d = out.shape[0]",
        f"    for k in {rest}:",
        "        out[k] = 0.0",
        *([f"    {slopes}= gradient({row}t)"] if axes else []),
        *(f"    out[{axis}] = g{axis}" for axis in axes),
        "",
        "",
        "@kernel",
        "def values(positions, t, out):",
        "    for i in range(positions.shape[0]):",
        f"        out[i] = value({table}t)",
        "",
        "",
        "@kernel",
        "def gradients(positions, t, out):",
        "    d = out.shape[1]",
        "    for i in range(positions.shape[0]):",
        f"        for k in {rest}:",
        "            out[i, k] = 0.0",
        *([f"        {slopes}= gradient({table}t)"] if axes else []),
        *(f"        out[i, {axis}] = g{axis}" for axis in axes),
    ]
    return "\n".join(lines) + "\n"
