"""Coordinates go where the numbers go."""

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from minibert import InputError, Tensor
from minibert import functional as F
from minibert.debug.execution import Execution
from minibert.debug.provenance.coordinates import Names, coordinates
from minibert.debug.provenance.why import why
from minibert.nn import Embedding, Initializer, Module

B, T, H, A = 3, 5, 6, 2


class Toy(Module):
    """A table of words, and whatever is done with its rows."""

    def __init__(self) -> None:
        self.words = Embedding(11, H, Initializer(0, 0.5, np.float64))

    def forward(self, ids: np.ndarray) -> Tensor:
        return self.words(ids)


def names_of(y: Tensor) -> Names:
    execution = Execution(y)
    return coordinates(execution)[execution.root]


def looked_up() -> tuple[Tensor, np.ndarray]:
    ids = np.random.default_rng(3).integers(0, 11, (B, T))
    return Toy()(ids), ids


def test_rows_of_a_table() -> None:
    x, ids = looked_up()
    names = names_of(x)
    assert set(names) == {"example", "position", "feature", "words"}
    for b, t, h in np.ndindex(B, T, H):
        assert [int(names[n][b, t, h]) for n in ("example", "position", "feature", "words")] == [b, t, h, ids[b, t]]


def test_moves_and_reductions() -> None:
    x, ids = looked_up()
    heads = names_of(F.split_heads(x, A))
    assert (heads["head"][:, 1] == 1).all() and (heads["feature"][0, 1, 2] == [3, 4, 5]).all()
    assert (names_of(F.merge_heads(F.split_heads(x, A)))["head"][0, 0] == [0, 0, 0, 1, 1, 1]).all()
    rows, columns = np.array([2, 0]), np.array([4, 1])
    assert names_of(x[rows, columns])["position"][:, 0].tolist() == [4, 1]
    assert names_of(x[rows, columns])["words"][:, 0].tolist() == ids[rows, columns].tolist()
    assert (names_of(x[:, 2])["position"] == 2).all()
    assert names_of(x.transpose(1, 0, 2))["example"][4, :, 0].tolist() == [0, 1, 2]
    assert set(names_of(x.mean(axis=1))) == {"example", "feature"}
    assert set(names_of(x.sum(axis=-1, keepdims=True))) == {"example", "position", "words"}
    assert names_of(F.concatenate([x, x[:, :2]], axis=1))["position"][0, :, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert names_of(x.sum()) == {}


def test_what_does_not_agree_is_dropped() -> None:
    x, _ = looked_up()
    assert set(names_of(x[:, 1:] * x[:, :-1])) == {"example", "feature"}
    assert set(names_of(x + x)) == {"example", "position", "feature", "words"}


def test_attention_written_with_matrix_products() -> None:
    x, _ = looked_up()
    q = F.split_heads(x, A)
    scores = F.matmul(q, q, tb=True)
    names = names_of(scores)
    assert set(names) == {"example", "head", "position", "words"}
    assert names["position"][1, 1, :, 0].tolist() == list(range(T))  # of the query
    backwards = names_of(F.attention(q[:, :, ::-1], q, q))
    assert backwards["position"][0, 0, :, 0].tolist() == list(range(T))[::-1]
    assert names_of(F.matmul(F.softmax(scores), q))["head"][0, 1, 0, 0] == 1


def test_a_map_with_its_gelu_has_the_places_of_its_rows() -> None:
    x, ids = looked_up()
    weight, bias = (Tensor(np.random.default_rng(0).standard_normal(shape)) for shape in ((H + 1, H), (H + 1,)))
    names = names_of(F.linear_gelu(x, weight, bias))
    assert set(names) == {"example", "position", "feature", "words"}
    assert (names["words"][..., 4] == ids).all() and (names["feature"][1, 2] == np.arange(H + 1)).all()


def test_data_without_a_table() -> None:
    w = Tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True, name="w")
    data = np.random.default_rng(1).standard_normal((5, 3))
    y = F.tanh(F.linear(Tensor(data), w))
    loss = (y * y).sum() + (w * w).sum() * 0.1
    answer = why(w[2, 1], loss)
    split = answer.by("example")
    y2 = np.tanh(data.astype(float) @ w.data.T.astype(float))[:, 2]
    expected = 2 * y2 * (1 - y2 * y2) * data[:, 1]
    assert split.values[:5] == pytest.approx(expected, rel=1e-6)
    assert split[5].label == "no example" and split[5].value == pytest.approx(0.2 * w.data[2, 1], rel=1e-6)
    assert answer.by("loss").values == pytest.approx([expected.sum(), 0.2 * w.data[2, 1]], rel=1e-6)
    with pytest.raises(InputError, match="told apart by 'position': choose one of use, path, loss, example, feature"):
        answer.by("position")


@pytest.mark.parametrize("labelled_only", [False, True])
@pytest.mark.parametrize("overrides", [{"norm_position": "pre"}, {"position_embedding_type": "sinusoidal"}])
def test_other_shapes_of_the_model(labelled_only: bool, overrides: dict[str, str]) -> None:
    model, batch = toy_model(**overrides).train(), toy_batch()
    loss = model(**batch, labelled_only=labelled_only).loss
    loss.backward()
    for name, p in model.named_parameters():
        place = (2,) * p.ndim if min(p.shape) > 2 else (1,) * p.ndim
        for names in (("use",), ("loss",), ("example", "position")):
            total = why(p[place], loss).by(*names).values.sum()
            assert total == pytest.approx(p.grad[place], rel=1e-9, abs=1e-13), (name, names)
