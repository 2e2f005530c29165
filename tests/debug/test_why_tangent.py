"""Up and down the same way gives the same number: <push(dx), dy> = <dx, pull(dy)>."""

import numpy as np
from models.toys import toy_batch, toy_model

from minibert import Tensor
from minibert import functional as F
from minibert.debug.checking.gradcheck import random_like
from minibert.debug.execution import Execution
from minibert.debug.provenance.routes import Edge, Flow, as_it_is
from minibert.debug.provenance.tangent import AFFINE, JOINTLY, is_affine


def every_affine_operation() -> Tensor:
    """A sum of something of each operation of the tables, none of them in a way that is not affine."""
    rng = np.random.default_rng(4)
    x = Tensor(rng.standard_normal((2, 4, 6)), requires_grad=True, name="x")
    w = Tensor(rng.standard_normal((6, 6)), requires_grad=True, name="w")
    y = F.concatenate([F.matmul(x, w), x.transpose(0, 2, 1).reshape(2, 4, 6) - x / 3.0], axis=1) * 1.7
    z = F.broadcast_to(F.merge_heads(F.split_heads(y, 3)).mean(axis=1, keepdims=True), (2, 5, 6))
    return (F.layer_norm(z, x[0, 0], x[0, 1]) * z).sum()


def test_up_and_down_are_adjoint() -> None:
    rng = np.random.default_rng(5)
    model, batch = toy_model().train(), toy_batch()
    met = set()
    for loss in (model(**batch, labelled_only=True).loss, every_affine_operation()):
        execution = Execution(loss)
        for source, uses in execution.uses.items():
            for node, i in uses:
                dx, dy = random_like(rng, source.shape), random_like(rng, node.shape)
                moved = Edge(node, i).push(execution, dx)
                assert (moved is None) == (not is_affine(node, [i]))
                if moved is not None:
                    down = Edge(node, i).pull(execution, dy, as_it_is)
                    scale = np.abs(moved * dy).sum()
                    assert abs((moved * dy).sum() - (dx * down).sum()) <= 1e-12 * scale, (node, i)
                    met.add((node.op.name, node.op.inputs[0 if node.op.variadic else i]))
    known = {(op, name) for op, names in AFFINE.items() for name in names}
    assert met >= known | {(op, name) for op, name in met if op in JOINTLY} - {("multiply", "y")}
    assert {op for op, _ in met} >= set(JOINTLY)


def test_a_flow_with_several_ways_and_one_that_is_not_affine() -> None:
    x = Tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    y = x * 2.0
    z = y + x[:, ::-1]
    execution = Execution((z * z).sum())
    flow = Flow(z.node, x, frozenset(execution.nodes) - {z.node})
    dx, dy = (random_like(np.random.default_rng(k), (3, 4)) for k in (1, 2))
    assert np.allclose(flow.push(execution, dx), 2.0 * dx + dx[:, ::-1], rtol=1e-14)
    assert np.allclose(flow.pull(execution, dy, as_it_is), 2.0 * dy + dy[:, ::-1], rtol=1e-14)
    square = next(node for node in execution.nodes if node.op.name == "multiply" and node is not y.node)
    assert Flow(square, x, frozenset(execution.nodes)).push(execution, dx) is None  # both factors move
    assert Edge(square, 0).push(execution, dx) is not None                            # one of them alone
