"""Every operation is registered, documented line by line, equal to its naive reference, and reachable."""

import ast
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minibert.ops
from minibert import functional as F
from minibert.ops.registry import REGISTRY, Op, register
from minibert.tensor import Tensor

from .cases import CASES, NAMED_CASES, arguments

METHODS = {"add": Tensor.__add__, "subtract": Tensor.__sub__, "multiply": Tensor.__mul__,
           "divide": Tensor.__truediv__, "power": Tensor.__pow__, "getitem": Tensor.__getitem__,
           "sum": Tensor.sum, "mean": Tensor.mean}
TAG = re.compile(r"\((\d)('?)(?:-(\d)'?)?\)")


def op_modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.iter_modules(minibert.ops.__path__)]
    return [importlib.import_module(f"minibert.ops.{name}") for name in names]


def functions(module: ModuleType) -> dict[str, Any]:
    members = inspect.getmembers(module, inspect.isfunction)
    return {name: f for name, f in members if f.__module__ == module.__name__}


def pairs_found() -> dict[str, tuple[Any, Any]]:
    """Every function with a `_backward` twin, wherever it stands in minibert/ops."""
    everything = {name: f for module in op_modules() for name, f in functions(module).items()}
    return {name: (f, everything[f"{name}_backward"]) for name, f in everything.items()
            if f"{name}_backward" in everything}


def test_every_pair_is_registered_and_has_cases() -> None:
    found = pairs_found()
    assert found.keys() == REGISTRY.keys() == CASES.keys()
    assert all(CASES.values())
    for name, (forward, backward) in found.items():
        assert (REGISTRY[name].forward, REGISTRY[name].backward) == (forward, backward)


def test_no_backward_stands_alone() -> None:
    for module in op_modules():
        for name in functions(module):
            assert not name.endswith("_backward") or name.removesuffix("_backward") in REGISTRY, name


def test_every_module_of_operations_is_exported_as_a_module() -> None:
    with_pairs = {REGISTRY[name].forward.__module__.rpartition(".")[2] for name in REGISTRY}
    assert with_pairs == set(minibert.ops.__all__)
    for name in minibert.ops.__all__:
        assert inspect.ismodule(getattr(minibert.ops, name))


def test_registering_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'softmax' is registered twice"):
        register(REGISTRY["softmax"])


@pytest.mark.parametrize("op", REGISTRY.values(), ids=REGISTRY.keys())
def test_entry_is_complete(op: Op) -> None:
    assert op.formula and op.gradient and "->" in op.shapes
    assert op.forward.__doc__ and op.backward.__doc__
    assert op.variadic or all(name in inspect.signature(op.forward).parameters for name in op.inputs)
    assert op.reference.__name__ == f"{op.name}_reference"


@pytest.mark.parametrize(("name", "i"), NAMED_CASES)
def test_saved_and_gradients_match_the_signature_of_backward(name: str, i: int) -> None:
    op, (args, hyper) = REGISTRY[name], arguments(name, i)
    y, saved = op.forward(*args, **hyper)
    assert isinstance(saved, tuple)
    assert len(saved) == len(op.saved)
    gradients = op.backward(np.asarray(y), *saved)
    assert isinstance(gradients, tuple)
    assert len(gradients) == (len(args) if op.variadic else len(op.inputs))


def test_saved_names_are_the_names_in_forward() -> None:
    """`return y, (x, cdf)` in forward and `backward(dy, x, cdf)`; x.shape becomes x_shape."""
    checked = 0
    for op in REGISTRY.values():
        tree = ast.parse(inspect.getsource(op.forward))
        *_, last = [node for node in ast.walk(tree) if isinstance(node, ast.Return)]
        for value, parameter in zip(last.value.elts[1].elts, op.saved, strict=True):
            name = ast.unparse(value).replace(".", "_")
            if name.isidentifier() and name != "A":  # a letter of the table of dimensions has a name, too
                assert name == parameter, op.name
                checked += 1
    assert checked >= 50


@pytest.mark.parametrize(("name", "i"), NAMED_CASES)
def test_forward_equals_the_naive_reference(name: str, i: int) -> None:
    op, (args, hyper) = REGISTRY[name], arguments(name, i)
    y, expected = op.forward(*args, **hyper)[0], op.reference(*args, **hyper)
    assert np.shape(y) == np.shape(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("name", "i"), NAMED_CASES)
def test_float32_stays_float32_and_agrees_with_float64(name: str, i: int) -> None:
    op, (args, hyper) = REGISTRY[name], arguments(name, i)
    y, saved = op.forward(*[in_float32(a) for a in args], **hyper)
    y64, saved64 = op.forward(*args, **hyper)
    assert y.dtype == np.float32
    dy = np.asarray(np.random.default_rng(i).standard_normal(np.shape(y)))
    for dx, dx64 in zip(op.backward(dy.astype(np.float32), *saved), op.backward(dy, *saved64), strict=True):
        assert (dx is None) == (dx64 is None)
        if dx is not None:
            assert dx.dtype == np.float32
            largest = float(np.abs(dx64).max(initial=1.0))  # what cancels, cancels from numbers of this size
            np.testing.assert_allclose(dx, dx64, rtol=2e-4, atol=2e-5 * largest)
    np.testing.assert_allclose(y, y64, rtol=2e-4, atol=2e-5)


def in_float32(a: Any) -> Any:
    return a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


@pytest.mark.parametrize(("name", "i"), NAMED_CASES)
def test_inputs_may_be_read_only(name: str, i: int) -> None:
    """Nothing is written into arguments, saved arrays or incoming gradients: NumPy itself would object."""
    op, (args, hyper) = REGISTRY[name], arguments(name, i)
    lock(args)
    y, saved = op.forward(*args, **hyper)
    lock(saved)
    dy = np.asarray(np.random.default_rng(i).standard_normal(np.shape(y)))
    lock((dy,))
    first = op.backward(dy, *saved)
    for dx, again in zip(first, op.backward(dy, *saved), strict=True):
        np.testing.assert_array_equal(dx, again)


def lock(arrays: Any) -> None:
    for a in arrays:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False


def tags(text: str) -> set[str]:
    """{"1'", "2'"} for "(2'-1')": every equation that `text` names."""
    found = set()
    for first, prime, last in TAG.findall(text):
        low, high = sorted((int(first), int(last or first)))
        found |= {f"{n}{prime}" for n in range(low, high + 1)}
    return found


@pytest.mark.parametrize("name", REGISTRY)
def test_equation_tags_of_docstring_and_body_agree(name: str) -> None:
    op = REGISTRY[name]
    for f, prime in ((op.forward, ""), (op.backward, "'")):
        body = inspect.getsource(f).split('"""')[2]
        comments = " ".join(line.partition("#")[2] for line in body.splitlines())
        assert own(f.__doc__, prime) == own(comments, prime), f.__name__
        assert not own(body, prime) - own(comments, prime)


def own(text: Any, prime: str) -> set[str]:
    return {tag for tag in tags(text) if tag.endswith("'") == bool(prime)}


def test_tags_are_found() -> None:
    assert tags("(1) and (3'-1') but f(x) and ()") == {"1", "1'", "2'", "3'"}
    assert sum(bool(own(op.forward.__doc__, "")) for op in REGISTRY.values()) >= 9
    assert own(REGISTRY["layer_norm"].backward.__doc__, "'") == {"1'", "2'", "3'", "4'"}


@pytest.mark.parametrize("name", REGISTRY)
def test_every_operation_can_be_called_on_tensors(name: str) -> None:
    op, (args, hyper) = REGISTRY[name], arguments(name, 0)
    places = range(len(args)) if op.variadic else op.positions
    tensors = [Tensor(a, requires_grad=True) if i in places else a for i, a in enumerate(args)]
    if name == "concatenate":
        y = F.concatenate(tensors, **hyper)
    elif name in ("reshape", "transpose"):
        y = getattr(tensors[0], name)(*tensors[1])
    else:
        y = METHODS.get(name, getattr(F, name, None))(*tensors, **hyper)
    assert y.node is not None and y.node.op is op
    np.testing.assert_array_equal(y.data, op.forward(*args, **hyper)[0])
