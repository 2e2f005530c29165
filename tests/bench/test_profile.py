"""Timed operations count every call, and leave the registry as it was."""

import pytest

from minibert import functional as F
from minibert.bench.profile import Profile, profile_step, timed_ops
from minibert.ops.registry import REGISTRY
from minibert.tensor import Tensor

from .conftest import TINY


def test_calls_are_counted_and_the_registry_is_restored() -> None:
    before = dict(REGISTRY)
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    with timed_ops() as timings:
        assert REGISTRY.keys() == before.keys()
        for name, op in before.items():
            timed = REGISTRY[name]
            assert timed.forward is not op.forward
            assert (timed.name, timed.saved) == (op.name, op.saved)
            assert op.variadic or timed.positions == op.positions
        F.tanh(F.tanh(x)).sum().backward()
    F.tanh(x)
    assert before == REGISTRY and all(REGISTRY[name] is op for name, op in before.items())
    assert {name: spent.calls for name, spent in timings.forward.items()} == {"tanh": 2, "sum": 1}
    assert {name: spent.calls for name, spent in timings.backward.items()} == {"tanh": 2, "sum": 1}
    assert timings.seconds > 0.0


def test_the_registry_is_restored_after_an_error_and_the_failing_call_counts() -> None:
    before = dict(REGISTRY)
    with pytest.raises(ValueError, match="matmul"), timed_ops() as timings:
        Tensor([[1.0]]) @ Tensor([1.0])
    assert before == REGISTRY
    assert timings.forward["matmul"].calls == 1


def test_a_profile_has_every_operation_of_a_step_and_the_rest() -> None:
    profile = profile_step(TINY, micro_batch=2)
    calls = {(row.op, row.direction): row.calls for row in profile.ops}
    assert calls["attention", "forward"] == calls["attention", "backward"] == 2  # micro-batches, of one layer
    assert calls["linear", "forward"] == 2 * (5 + 3)  # those of a layer, pooler and two heads
    assert calls["linear_gelu", "forward"] == 2 * 2  # that of a layer, and the transform
    assert [row.ms for row in profile.ops] == sorted((row.ms for row in profile.ops), reverse=True)
    assert list(profile.rest) == ["graph and sums of gradients", "gradient norm", "AdamW"]
    assert all(ms > 0.0 for ms in profile.rest.values())
    by_op = profile.by_op()
    assert sum(len(sides) for sides in by_op.values()) == len(profile.ops)
    sums = [sum(row.ms for row in sides.values()) for sides in by_op.values()]
    assert sums == sorted(sums, reverse=True)
    assert sum(sums) + sum(profile.rest.values()) == pytest.approx(profile.total_ms)


def test_an_empty_profile_takes_no_time() -> None:
    assert Profile([], {}).total_ms == 0
