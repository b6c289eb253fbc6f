"""A run rebuilt from its file, where it was stated in expressions alone.

The file holds objects as their text, `0.5 * Entropy() + Potential('x**2')`. It is read by a grammar of its own, calls
of the package's own names with literal arguments, sums and multiples; nothing of it is run as code.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from wflow import estimators, functionals, metrics, steppers, targets
from wflow.errors import InputError, abridged
from wflow.loop.plan import DEFAULTS
from wflow.results import Result
from wflow.states import Gaussian

LONGEST = 1_000_000
KINDS: dict[str, tuple[Any, ...]] = {
    "functional": (*functionals.FUNCTIONALS, *targets.TARGETS),
    "stepper": steppers.STEPPERS,
    "metric": metrics.METRICS,
    "estimator": estimators.ESTIMATORS,
}
FUNCTIONS = ("stop", "diagnostics")
ADVICE = "run the script that made the file again, with resume=True"


def recipe(result: Result) -> tuple[Any, Any, dict[str, Any]]:
    """Functional, state and further arguments of the run that made a result.

    Raises `InputError` for what cannot be read back: functions, and objects that do not say all they are made of.
    """
    if not len(result.times):
        raise InputError("the file has no frame to start from; run the script that made it with resume=True")
    lost = [name for name in ("arguments", "functional", "stepper", "seed") if name not in result.info]
    if lost:
        raise InputError(f"the file does not say its {', '.join(lost)}: {ADVICE}")
    arguments = {**result.info["arguments"]}
    unknown = sorted(set(arguments) - set(DEFAULTS))
    if unknown:
        raise InputError(f"the file is not of wf.run, which takes no {', '.join(unknown)}: {ADVICE}")
    given = [name for name in FUNCTIONS if arguments.pop(name, None) is not None]
    given += [name for name, value in arguments.items() if _holds_function(value)]
    if given:
        raise InputError(f"{', '.join(given)} cannot be rebuilt, being functions: {ADVICE}")
    for name in ("metric", "estimator"):
        if isinstance(arguments.get(name), str):
            arguments[name] = rebuilt(arguments[name], name)
    text = str(result.info["functional"])
    functional = None if text == "none" else rebuilt(text, "functional")
    state = result.states[0]
    # The factor of a covariance is not in the file; that of a fresh Gaussian is what the run began with.
    state = Gaussian(state.mean, state.cov) if isinstance(state, Gaussian) else state
    stepper = rebuilt(str(result.info["stepper"]), "stepper")
    return functional, state, {**arguments, "stepper": stepper, "rng": result.info["seed"]}


def rebuilt(text: str, kind: str) -> Any:
    """The object of a kind ("functional", "stepper", "metric", "estimator") that a text describes, if it describes
    itself in the same words.

    >>> rebuilt("0.5 * Entropy() + Potential('x**2')", "functional")
    0.5 * Entropy() + Potential('x**2')
    """
    try:
        if len(text) > LONGEST:
            raise ValueError("it is too long")
        made = _value(ast.parse(text, mode="eval").body, {made.__name__: made for made in KINDS[kind]})
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"{abridged(text)} cannot be rebuilt ({error}): {ADVICE}") from None
    if repr(made) != text:
        raise InputError(f"{abridged(text)} cannot be rebuilt, it would be {abridged(repr(made))}: {ADVICE}")
    return made


def _value(node: ast.expr, names: Mapping[str, Callable[..., Any]]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item, names) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(right, (*functionals.FUNCTIONALS, functionals.Sum)):
            return left + right if isinstance(node.op, ast.Add) else left * right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        named = {str(word.arg): _value(word.value, names) for word in node.keywords}
        return names[node.func.id](*(_value(item, names) for item in node.args), **named)
    raise ValueError(f"{abridged(ast.unparse(node))} is no name, number or text of the package")


def _holds_function(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, str) and item.startswith("function ") for item in items)
