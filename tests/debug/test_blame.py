"""The first bad operation is named, forward and backward, and why it is bad; what is normal is not blamed."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from models.toys import toy_batch, toy_config, toy_model

from minibert import BertForPreTraining, InputError, Tensor
from minibert import functional as F
from minibert.debug.blaming import causes
from minibert.debug.blaming.blame import blame
from minibert.debug.blaming.growth import rms
from minibert.ops.dropout import DropoutKey, keep_mask
from minibert.ops.registry import REGISTRY

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy says so while the numbers are spoilt
RNG = np.random.default_rng(0)


def leaf(values: Any, name: str = "", dtype: Any = np.float32) -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True, name=name)


def scores(hidden_row: bool) -> Tensor:
    """(2, 4, 5) with the last two places of one row masked, and another row wholly so."""
    mask = np.ones((2, 4, 5), bool)
    mask[0, 1, 3:] = False
    mask[1, 3] = not hidden_row
    return F.where(mask, leaf(RNG.standard_normal((2, 4, 5))), -np.inf)


def own_softmax(x: Tensor, stable: bool = True) -> Tensor:
    e = F.exp(x - F.max(x, axis=-1, keepdims=True)) if stable else F.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def hidden(bad: Callable[[Tensor], Tensor], values: list[float]) -> Tensor:
    """bad(x) where x > 0, and 0 elsewhere, where bad(x) was computed all the same."""
    x = leaf(values, "x")
    return F.where(x.data > 0.0, bad(x), 0.0).sum()


KEPT = next(key for key in (DropoutKey(seed, 0, 0) for seed in range(99)) if keep_mask((1, 1, 1, 2), 0.5, key).all())
BIG = np.array([[[[1e20, 2e20, 3e20]], [[1.0, 2.0, -3e20]]]])
FORWARD: list[tuple[str, tuple[int, ...], Callable[[], Tensor], str]] = [
    ("log", (0, 2), lambda: F.log(leaf([[0.5, 2, -0.3], [1, 1, 3]])).sum(), r"log\(-0\.3\) at \[0, 2\]: a negative"),
    ("log", (1,), lambda: F.log(leaf([3, 0, 2])).mean(), r"log\(0\) at \[1\]: the logarithm of 0 is -inf"),
    ("exp", (1,), lambda: F.exp(leaf([88, 89.2])).sum(), r"exp\(89\.2\) at \[1\] is above the largest float32, 3\.4"),
    ("sqrt", (2,), lambda: F.sqrt(leaf([1, 0, -4])).sum(), r"sqrt\(-4\) at \[2\]: a negative number"),
    ("divide", (1, 0), lambda: (leaf([[1, 2, 3], [4, 5, 6]]) / leaf([[7], [0]])).sum(),
     r"x / y = 4 / 0 = inf at \[1, 0\]: a division by 0"),
    ("divide", (1,), lambda: (leaf([1, 0]) / leaf([2, 0])).sum(), r"x / y = 0 / 0 = nan at \[1\]: 0 divided by 0"),
    ("divide", (1, 3, 0), lambda: own_softmax(scores(True), stable=False).sum(), r"all numbers of row \[1, 3\] are 0"),
    ("subtract", (1, 3, 0), lambda: own_softmax(scores(True)).sum(), r"row \[1, 3\] is fully masked: .* -inf - \(-"),
    ("log_softmax", (1, 3, 0), lambda: F.log_softmax(scores(True)).sum(), r"row \[1, 3\] is fully masked"),
    ("power", (1,), lambda: (leaf([2, -3])**0.5).sum(), r"\(-3\)\^\(0\.5\) at \[1\]: a fractional power of a negative"),
    ("power", (0,), lambda: (leaf([0, 3])**-2).sum(), r"\(0\)\^\(-2\) at \[0\]: 0 to a negative power"),
    ("power", (1,), lambda: (leaf([2, 1e20])**2).sum(), r"\(1e\+20\)\^\(2\) at \[1\] is above the largest float32"),
    ("multiply", (1,), lambda: (leaf([2, 1e20]) * leaf([3, -1e20])).sum(),
     r"x \* y = 1e\+20 \* \(-1e\+20\) = -inf at \[1\]: its size is above the largest float32"),
    ("add", (0,), lambda: (leaf([3e38, 1]) + leaf([2e38, 1])).sum(), r"3e\+38 \+ 2e\+38 = inf at \[0\]: it is above"),
    ("sum", (), lambda: leaf([3e38, 2e38, 1]).sum(), r"a sum of 3 numbers that reach 3e\+38 is above"),
    ("mean", (1,), lambda: leaf([[1, 2], [3e38, 2e38]]).mean(axis=1).sum(), r"a sum of 2 numbers that reach 3e\+38"),
    ("matmul", (0, 1), lambda: (leaf([[1e20, 2]]) @ leaf([[1, 1e20], [1, 1]])).sum(),
     r"a reaches 1e\+20 and b reaches 1e\+20: sums of their products at \[0, 1\] are above"),
    ("linear", (1, 2), lambda: F.linear(leaf([[1, 2], [1e20, 3]]), leaf([[1, 1], [2, 2], [1e20, 1]])).sum(),
     r"row \[1\] of x reaches 1e\+20, and row \[2\] of weight 1e\+20: their products add up to 1e\+40, beyond"),
    ("linear_gelu", (1, 0), lambda: F.linear_gelu(leaf([[1, 2], [1e20, 3]]), leaf([[-1e20, 1], [2, 2]]), leaf([3, 5])
                                                  ).sum(),
     r"row \[1\] of x reaches 1e\+20, and row \[0\] of weight 1e\+20: their products add up to -1e\+40, beyond"),
    ("attention", (0, 0, 0, 0), lambda: F.attention(leaf(BIG), leaf(BIG), leaf(RNG.standard_normal(BIG.shape))).sum(),
     r"scores of query \[0, 0, 0\] reach 8\.083e\+40, above .*: q has norm 3\.742e\+20, k has norms up to 3\.742e\+20"),
    ("attention", (0, 0, 0, 0), lambda: F.attention(leaf(np.zeros((1, 1, 1, 2))), leaf(np.zeros((1, 1, 2, 2))),
                                                    leaf(np.full((1, 1, 2, 2), 3e38)), None, 0.5, KEPT).sum(),
     r"v reaches 3e\+38: sums of their products at \[0, 0, 0, 0\] are above"),
    ("layer_norm", (0, 0), lambda: F.layer_norm(leaf([[3, 3, 3], [1, 2, 3]]), leaf([1, 2, 1]), leaf([0, 1, 0]), 1e-50
                                               ).sum(), r"row \[0\] of x is constant, .* eps = 1e-50, which is 0 in"),
    ("layer_norm", (1, 0), lambda: F.layer_norm(leaf([[1, 2], [3e38, 2e38]]), leaf([1, 2]), leaf([0, 1])).sum(),
     r"row \[1\] of x reaches 3e\+38: its sum, for the mean, is above"),
    ("add_norm", (1, 0), lambda: F.add_norm(leaf([[1, 2], [3e38, 1]]), leaf([[1, 2], [2e38, 1]]), leaf([1, 2]),
                                            leaf([0, 1])).sum(), r"x \+ h = 2e\+38 \+ 3e\+38 = inf at \[1, 0\]"),
    ("add_norm", (1, 0), lambda: F.add_norm(leaf([[1, 2], [3e38, 1]]), leaf([[1, 2], [2, 1]]), leaf([1, 2]),
                                            leaf([0, 1]), bias=leaf([2e38, 0])).sum(),
     r"h \+ bias = 3e\+38 \+ 2e\+38 = inf at \[1, 0\]"),
    ("add_norm", (1, 0), lambda: F.add_norm(leaf([[1, 2], [-1e38, 1]]), leaf([[1, 2], [3e38, 1]]), leaf([1, 2]),
                                            leaf([0, 1]), bias=leaf([2e38, 0])).sum(),
     r"x \+ \(h \+ bias\) = 3e\+38 \+ 1e\+38 = inf at \[1, 0\]"),
    ("add_norm", (0, 0), lambda: F.add_norm(leaf([[1, 2]]), leaf([[4, 3]]), leaf([1, 2]), leaf([0, 1]), 0.0,
                                            bias=leaf([-5, -5])).sum(), r"row \[0\] of x \+ \(h \+ bias\) is constant"),
    ("cross_entropy", (), lambda: F.cross_entropy(scores(False).reshape(8, 5), np.array([0, 4, *[1] * 6])),
     r"row 1 of the logits is -inf at its label 4, as by a mask: probability 0, and -ln 0 = inf"),
    ("cross_entropy", (), lambda: F.cross_entropy(scores(True).reshape(8, 5), np.array([1, -100, *[1] * 6])),
     r"row 7 of the logits is fully masked"),
    ("gelu", (0, 1, 3), lambda: F.gelu(scores(False)).sum(), r"-inf \* Phi\(-inf\) = -inf \* 0 = nan at \[0, 1, 3\]"),
]
BACKWARD: list[tuple[str, Callable[[], Tensor], str]] = [
    ("log", lambda: hidden(F.log, [2, 0, 3]),
     r"dy / x = 0 / 0 = nan at \[1\]: .* the output of log held 1 -inf, first at \[1\]: the forward pass hid it"),
    ("exp", lambda: hidden(lambda x: F.exp(x * x), [2, -10, 3]), r"dy \* y = 0 \* inf = nan at \[1\]: 0 times inf"),
    ("multiply", lambda: (leaf([1e-30, 1]) * leaf([1e25, 1]) * 1e20).sum(),
     r"dz \* y = 1e\+20 \* 1e\+25 = inf at \[0\]: it is above"),
    ("divide", lambda: (leaf([1e-30, 2]) / leaf([1e-39, 1])).sum(), r"dz / y = 1 / 1e-39 = inf at \[0\]: it is above"),
    ("power", lambda: (leaf([4, 0])**0.5).sum(), r"the slope holds \(0\)\^\(-0\.5\) at \[1\]: 0 to a negative power"),
    ("gelu_tanh", lambda: F.gelu_tanh(leaf([2, 1e20])).sum(), r"x = 1e\+20 at \[1\]: in its slope, x\^2 is above"),
    ("linear", lambda: (F.linear(leaf([[1e-30]]), leaf([[1e25]])) * 1e20).sum(),
     r"dy reaches 1e\+20 and weight reaches 1e\+25: sums of their products at \[0, 0\] are above"),
    ("linear_gelu", lambda: (F.linear_gelu(leaf([[1e-30]]), leaf([[1e25]]), leaf([2])) * 1e20).sum(),
     r"dy reaches 1e\+20 and weight reaches 1e\+25: sums of their products at \[0, 0\] are above"),
    ("attention", lambda: (F.attention(leaf([[[[0]]]]), leaf([[[[0], [0]]]]), leaf([[[[3e25], [-3e25]]]])) * 1e14
                           ).sum(), r"dcontext reaches 1e\+14 and q .* v reaches 3e\+25"),
]


@pytest.mark.parametrize(("op", "index", "make", "cause"), FORWARD)
@pytest.mark.parametrize("consumed", [False, True])
def test_the_first_bad_operation_forward(op: str, index: tuple[int, ...], make: Callable[[], Tensor], cause: str,
                                         consumed: bool) -> None:
    loss = make()
    if consumed:
        loss.backward()
    found = blame(loss)
    assert (found.kind, found.phase, found.node.op.name) == ("nan", "forward", op)
    assert found.indices[0] == index
    assert re.search(cause, found.cause), found.cause


@pytest.mark.parametrize(("op", "make", "cause"), BACKWARD)
def test_the_first_bad_operation_backward(op: str, make: Callable[[], Tensor], cause: str) -> None:
    found = blame(make())
    assert (found.kind, found.phase, found.node.op.name) == ("nan", "backward", op), found
    assert re.search(cause, found.cause), found.cause


@pytest.mark.parametrize("make", [
    lambda: own_softmax(scores(False)).sum(), lambda: F.softmax(scores(True)).sum(), lambda: F.sqrt(leaf([0, 4])).sum(),
    lambda: F.sigmoid(leaf([-3e38, 3e38])).sum(), lambda: F.gelu(leaf([-80, 80])).sum(),
    lambda: F.cross_entropy(scores(False).reshape(8, 5), np.array([0, 1, *[1] * 6])),
    lambda: F.layer_norm(leaf([[3, 3, 3], [1, 2, 3]]), leaf([1e-3, 2e-3, 1e-3]), leaf([0, 1, 0])).sum(),
    lambda: F.attention(*(leaf(RNG.standard_normal((1, 2, 3, 4))) for _ in "qkv"), np.eye(3) > 0).sum(),
    lambda: F.attention(*(leaf(RNG.standard_normal((1, 2, 3, 4))) for _ in "qkv"), np.zeros((3, 3), bool)).sum()])
def test_masks_and_limits_that_are_defined_are_not_blamed(make: Callable[[], Tensor]) -> None:
    assert blame(make()).kind != "nan"


@pytest.mark.parametrize("make", [lambda: own_softmax(scores(False)).sum(), lambda: F.softmax(scores(True)).sum(),
                                  lambda: hidden(lambda x: F.exp(x) * 2.0, [2, -3]), lambda: leaf(np.ones(10**6)).sum(),
                                  lambda: leaf(np.ones((1000, 3))).mean()])
def test_what_is_ordinary_is_no_explosion(make: Callable[[], Tensor]) -> None:
    found = blame(make())
    assert (found.kind, found.phase) == ("nothing", "") and "Nothing is wrong" in str(found)


def test_a_leaf_that_was_broken_before_is_named() -> None:
    model = toy_model()
    weight = model.bert.encoder.layer[1].output.dense.weight
    weight.data[[4, 7, 9], [7, 3, 2]] = np.nan
    found = blame(model(**toy_batch()).loss)
    assert (found.kind, found.phase, found.node, found.indices[0]) == ("nan", "leaf", weight, (4, 7))
    assert found.title == ("The parameter bert.encoder.layer.1.output.dense.weight holds 3 NaN, first at [4, 7]: it "
                           "was broken before this step.")


def test_a_broken_number_that_nobody_reads_is_harmless() -> None:
    model, batch = toy_model(), toy_batch()
    model.bert.embeddings.position_embeddings.weight.data[12] = np.nan  # the text ends before
    found = blame(model(**batch).loss)
    assert found.kind == "nothing"
    assert dict(found.rows)["harmless"].startswith("bert.embeddings.position_embeddings.weight holds 15 NaN")


def test_a_constant_that_was_broken_before_is_named_by_its_place() -> None:
    x = np.array([[1, 2, 3], [4, np.nan, 6]], np.float32)
    found = blame(F.linear(Tensor(x), leaf([[1, 1, 1]])).sum())
    assert (found.phase, found.indices) == ("leaf", ((1, 1),))
    assert found.title.startswith("The constant x of linear holds 1 NaN, first at [1, 1]")
    found = blame((leaf([1, 2]) + Tensor(np.array([0, -np.inf], np.float32), name="bias")).sum())  # the mask itself
    assert found.title.startswith("The constant bias holds 1 -inf, first at [1]")


def test_the_first_of_several_is_blamed_and_only_one_that_reaches_the_loss() -> None:
    x = leaf([-1, 2])
    unread = F.sqrt(x)
    loss = F.log(F.sqrt(x * 1.0)).sum() + F.where(np.array([False, False]), unread, 0.0).sum()
    found = blame(loss)
    assert found.node.op.name == "sqrt" and found.node is not unread.node


def test_an_infinity_that_was_computed_is_no_mask() -> None:
    x = leaf([0, 1])
    assert blame((x * F.log(x)).sum()).node.op.name == "log"


def test_a_bad_gradient_that_reaches_no_leaf_is_harmless() -> None:
    x = leaf([2, -1])
    z = F.where(x.data > 0.0, F.log(F.where(x.data > 0.0, x, 0.0) * 1.0), 0.0).sum()
    found = blame(z)
    z.backward()
    assert x.grad.tolist() == [0.5, 0.0]
    assert found.kind == "nothing" and dict(found.rows)["harmless"].startswith("log holds 1 -inf, first at [1]")


def test_a_sum_of_finite_gradients_that_overflows_is_blamed_on_the_fork() -> None:
    x = leaf([1e-30])
    y = x * 1e-20
    found = blame((y * 3e38 + y * 2e38).sum())
    assert (found.kind, found.phase, found.node) == ("nan", "backward", y.node)
    assert "each of its 2 uses has a finite gradient" in found.cause


def test_overflow_depends_on_the_precision_of_the_graph() -> None:
    assert blame(F.exp(leaf([89.2], dtype=np.float32)).sum()).kind == "nan"
    assert blame(F.exp(leaf([89.2], dtype=np.float64)).sum()).kind == "explosion"
    assert "largest float64, 1.8e308" in blame(F.exp(leaf([710], dtype=np.float64)).sum()).cause


def test_the_row_of_a_map_with_its_gelu_is_shown() -> None:
    text = str(blame(F.linear_gelu(leaf([[1, 2], [1e20, 3]]), leaf([[1e20, 1], [2, 2]]), leaf([3, 5])).sum()))
    assert "row [1]: 1e+20, 3" in text


def test_scores_that_overflow_in_a_model() -> None:
    model = BertForPreTraining(toy_config())
    attention = model.bert.encoder.layer[1].attention.self
    attention.query.weight.data[3, 4] = attention.key.weight.data[3, 4] = 1e30
    found = blame(model(**toy_batch()).loss)
    assert found.node.op.name == "attention" and found.node.module == "bert.encoder.layer.1.attention.self"
    assert re.search(r"the scores of query \[0, 0, 0\] reach .*e\+5\d, above the largest float32", found.cause)
    text = str(found)
    assert "nn/attention.py:" in text and "test_blame.py:" in text and max(map(len, text.splitlines())) <= 120


def test_a_huge_weight_that_makes_nothing_infinite_is_an_explosion() -> None:
    model = toy_model()
    model.bert.encoder.layer[1].output.dense.weight.data[3, 4] = 1e30
    found = blame(model(**toy_batch()).loss)
    assert (found.kind, found.phase, found.node.module) == ("explosion", "forward", "bert.encoder.layer.1.output.dense")
    assert found.cause == "bert.encoder.layer.1.output.dense.weight, one of its inputs, reaches 1e+30"
    assert blame(toy_model()(**toy_batch()).loss).kind == "nothing"


def test_growth_in_small_steps_is_an_explosion_of_nobody() -> None:
    x = leaf([1, 2])
    for _ in range(9):
        x = x * 10.0
    found = blame(x.sum())
    assert found.kind == "explosion" and "no single operation is to blame" in found.cause


def test_inside_a_recomputed_layer_blame_says_how_to_see_more() -> None:
    model = toy_model()
    model.bert.encoder.recompute = True
    model.bert.encoder.layer[0].output.dense.bias.data[2] = np.inf
    found = blame(model(**toy_batch()).loss)
    assert found.node.op.name == "recompute_forward" and "set `recompute` of the encoder to False" in found.cause
    model.bert.encoder.recompute = False
    assert blame(model(**toy_batch()).loss).title.startswith("The parameter bert.encoder.layer.0.output.dense.bias")


def test_looking_changes_nothing_and_needs_a_graph() -> None:
    x = leaf([1, 2])
    loss = F.log(x).sum()
    blame(loss)
    assert x.grad is None
    loss.backward()
    assert x.grad.tolist() == [1, 0.5]
    with pytest.raises(InputError, match="no graph to look into"):
        blame(Tensor(np.ones(3)))


def test_an_operation_without_a_known_cause_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "FORWARD", {})
    found = blame(F.log(leaf([0, 2])).sum())
    assert found.cause == "not known for log: look at its operands"
    assert dict(found.rows)["x"] == "(2,): 0 .. 2, norm 2; at [0]: 0"


def test_every_cause_belongs_to_an_operation() -> None:
    assert (set(causes.FORWARD) | set(causes.BACKWARD)) - {"recompute_forward"} <= set(REGISTRY)


def test_the_page_is_whole_and_escaped() -> None:
    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    opened: list[str] = []
    page = blame(F.log(leaf([[1, -2]]) * leaf([[1, 1]], "<b>")).sum())._repr_html_()
    Balance().feed(page)
    assert opened == []
    assert "log(-2) at [0, 1]" in page and "<script" not in page


def test_rms_neither_overflows_nor_counts_masks() -> None:
    assert rms(np.array([3e300, 4e300])) == pytest.approx(12.5**0.5 * 1e300)
    assert rms(np.array([3.0, -np.inf, 4.0], np.float32)) == pytest.approx(12.5**0.5)
    assert rms(np.zeros(2)) == rms(np.array([-np.inf])) == 0.0
