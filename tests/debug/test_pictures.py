"""Pictures hold what the graph holds, and nothing in them lies on anything else."""

import warnings
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from debug.svg_geometry import Picture, inside, overlap, read
from minibert import InputError, Tensor
from minibert.debug.execution import Execution, Gradients
from minibert.debug.pictures import attention_maps, draw_graph, gradient_flow
from minibert.debug.pictures.blocks import Part, group
from minibert.debug.pictures.layered import Edge, layout
from minibert.debug.pictures.wires import BROKEN, RESIDUAL, TIED, Scale, rms
from minibert.nn import Module, Parameter

ATTENTION = "bert.encoder.layer.0.attention"
MODELS = {"post": {}, "pre": {"norm_position": "pre"}, "untied": {"tie_word_embeddings": False},
          "sinusoids, 3 layers": {"position_embedding_type": "sinusoidal", "num_hidden_layers": 3}}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def loss_of(recompute: bool = False, labelled_only: bool = True, **overrides) -> Tensor:
    model = toy_model(**overrides).train()
    model.bert.encoder.recompute = recompute
    return model(**toy_batch(), labelled_only=labelled_only).loss


def assert_readable(picture: Picture) -> None:
    """Nothing overlaps, every text fits, and no edge runs through a box that is not its own."""
    page = 0.0, 0.0, *picture.size
    rects = list(picture.boxes.values())
    assert not any(overlap(a, b) for a, b in combinations(rects, 2))
    assert not any(overlap(a, b) for a, b in combinations(picture.frames.values(), 2))
    for (one, a), (other, b) in combinations(picture.texts, 2):
        assert not overlap(a, b), f"{one} lies on {other}"
    for text, place in picture.texts:
        assert inside(place, page)
        assert all(inside(place, box) or not overlap(place, box) for box in rects), f"{text} is cut by a box"
    for box in rects:
        assert all(inside(box, frame) or not overlap(box, frame) for frame in picture.frames.values())
    for source, target, points in picture.edges:
        left, _, right, bottom = picture.boxes[source]
        assert points[0][1] == pytest.approx(bottom, abs=0.11) and points[0][0] == pytest.approx(
            (left + right) / 2, abs=0.11)
        left, top, right, _ = picture.boxes[target]
        assert points[-1][1] == pytest.approx(top, abs=0.11) and left < points[-1][0] < right
        for x, y in points:
            for name, (x0, y0, x1, y1) in picture.boxes.items():
                assert name in (source, target) or not (x0 < x < x1 and y0 < y < y1), f"{source} runs through {name}"
            for text, (x0, y0, x1, y1) in picture.texts:
                assert not (x0 < x < x1 and y0 < y < y1), f"{source} to {target} runs through {text}"


@pytest.mark.parametrize(("name", "recompute", "labelled_only"), [
    ("post", False, True), ("post", True, True), ("pre", False, False), ("untied", False, False),
    ("sinusoids, 3 layers", False, True)])
def test_every_operation_is_drawn_once_with_its_edges(name: str, recompute: bool, labelled_only: bool) -> None:
    loss = loss_of(recompute, labelled_only, **MODELS[name])
    execution = Execution(loss)
    picture = read(draw_graph(loss, level="op").svg)
    assert_readable(picture)
    assert picture.boxes.keys() == {execution.name(x) for x in execution.order}
    uses = Counter((execution.name(x), execution.name(node)) for x, found in execution.uses.items()
                   for node, _ in found)
    assert Counter(edge[:2] for edge in picture.edges) == uses
    feet = Counter(text for text, _ in picture.texts)
    assert feet["7x11x15"] == sum(x.shape == (7, 11, 15) for x in execution.order if x in execution.uses)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("name", "gradients"), [(name, False) for name in MODELS] + [("post", True)])
def test_blocks_have_residual_connections_and_the_tied_table(name: str, recompute: bool, gradients: bool) -> None:
    picture = read(draw_graph(loss_of(recompute, False, **MODELS[name]), gradients=gradients).svg)
    assert_readable(picture)
    assert picture.size[0] <= 900
    layers = MODELS[name].get("num_hidden_layers", 2)
    colours = Counter(colour for colour, _ in picture.looks.values())
    if not gradients:
        assert colours[RESIDUAL] == (0 if recompute else 2 * layers)
        for (source, target), (colour, _) in picture.looks.items():
            assert colour != RESIDUAL or (target.split(",")[0] != source and ", add" in target)
        assert colours[TIED] == (0 if name == "untied" else 2)
    if not recompute:
        y = "layer 1: self-attention, add" + " & norm" * (name != "pre")
        sources = {source for source, target, _ in picture.edges if target == y}
        assert sources == {"layer 1: self-attention", "layer 0: feed-forward, add" + " & norm" * (name != "pre")}
    table = "bert.embeddings.word_embeddings.weight"
    assert {target for source, target, _ in picture.edges if source == table} == (
        set() if name == "untied" else {"embeddings", "masked-word head"})


def test_one_module_with_its_surroundings() -> None:
    loss = loss_of()
    picture = read(draw_graph(loss, level="op", module=ATTENTION, gradients=True).svg)
    assert_readable(picture)
    assert picture.size[0] <= 900
    own = {name for name in picture.boxes if name.startswith(ATTENTION)}
    assert picture.dashed == picture.boxes.keys() - own == {
        "bert.embeddings.dropout:dropout", "bert.encoder.layer.0.intermediate:linear_gelu",
        "bert.encoder.layer.0.output:add_norm"}
    assert picture.frames.keys() == {"self.query", "self.key", "self.value", "self", "output.dense", "output"}
    assert "softmax" in picture.titles[f"{ATTENTION}.self:attention"]
    everything = Execution(loss)
    assert own == {everything.name(x) for x in everything.order if everything.name(x).startswith(ATTENTION)}


def test_a_stronger_gradient_is_a_wider_and_redder_line() -> None:
    loss = loss_of()
    execution = Execution(loss)
    terms = execution.backward().terms
    picture = read(draw_graph(loss, level="op", gradients=True).svg)
    found = {(execution.name(node.inputs[i]), execution.name(node)): rms(dx) for (node, i), dx in terms.items()
             if dx.size > 1 and Counter(node.inputs)[node.inputs[i]] == 1}
    by_size = sorted(found, key=found.__getitem__)
    widths = [picture.looks[ends][1] for ends in by_size]
    assert widths == sorted(widths) and widths[-1] == 4.0
    weakest = f"{ATTENTION}.self.key.bias", f"{ATTENTION}.self.key:linear"  # the bias that attention cannot see
    assert picture.looks[weakest] == ("#c9d6e2", 0.8)
    assert f"{found[by_size[-1]]:.4g}" in draw_graph(loss, level="op", gradients=True).svg


def test_a_tenth_of_the_gradient_is_a_quarter_of_the_way_to_the_weakest_line() -> None:
    scale = Scale(Gradients(), 2.0)
    assert [scale.look(size)[1] for size in (2.0, 0.2, 2e-4, 2e-9, 0.0)] == pytest.approx([4.0, 3.2, 0.8, 0.8, 0.8])


def test_a_gradient_that_is_no_number_is_seen() -> None:
    model = toy_model()
    model.bert.encoder.layer[0].output.dense.weight.data[2, 3] = np.nan
    loss = model(**toy_batch()).loss
    picture = read(draw_graph(loss, gradients=True).svg)
    assert_readable(picture)
    assert picture.looks["layer 1: feed-forward", "layer 1: feed-forward, add & norm"] == (BROKEN, 4.0)
    assert "NaN or infinite" in draw_graph(loss, level="op", gradients=True).svg
    figure = gradient_flow(loss)
    figure.canvas.draw()
    assert "purple: NaN or infinite" in figure.subfigs[0].axes[0].get_title()


class Twice(Module):
    """A module that is left and entered again, and a parameter that is used twice by one operation."""

    def __init__(self) -> None:
        self.inner = Plain()

    def forward(self, x: Tensor) -> Tensor:
        y = x * x
        return (self.inner(y) + y * 2.0).sum()


class Plain(Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 3.0


@pytest.mark.parametrize("level", ["block", "op"])
def test_a_graph_of_ones_own(level: str) -> None:
    x = Parameter(np.random.default_rng(0).standard_normal((3, 5)))
    picture = read(draw_graph(Twice()(x), level=level).svg)
    assert_readable(picture)
    if level == "op":
        assert Counter(edge[:2] for edge in picture.edges)["leaf 0", "multiply[0]"] == 2


def test_a_group_that_is_left_and_entered_again_is_two() -> None:
    x = Parameter(np.ones((3, 5)))
    a = x * 2.0
    b = a + 1.0
    c = b * 3.0
    home = group([a.node, b.node, c.node], lambda node: Part(node.op.name, node.op.name, "other"))
    assert home[a.node] is not home[c.node] and home[c.node].sources == [home[b.node]]
    d = a * x
    home = group([a.node, d.node], lambda node: Part(node.op.name, node.op.name, "other"))
    assert home[a.node] is home[d.node]


def test_layers_of_a_random_graph() -> None:
    rng = np.random.default_rng(3)
    sizes = {i: (float(rng.integers(20, 90)), float(rng.integers(10, 40))) for i in range(40)}
    edges = [Edge(i, j, sizes[i][0] / 2, sizes[j][0] / 3) for j in sizes for i in range(j) if rng.random() < 0.06]
    found = layout(sizes, edges)
    boxes = [(x, y, x + sizes[i][0], y + sizes[i][1]) for i, (x, y) in found.corners.items()]
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
    assert all(found.corners[e.source][1] + sizes[e.source][1] < found.corners[e.target][1] for e in edges)
    for edge, route in zip(edges, found.routes, strict=True):
        assert route[0] == (found.corners[edge.source][0] + edge.source_at,
                            found.corners[edge.source][1] + sizes[edge.source][1])
        assert route[-1] == (found.corners[edge.target][0] + edge.target_at, found.corners[edge.target][1])
        assert [y for _, y in route] == sorted(y for _, y in route)
    every = [*found.corners.values(), *(point for route in found.routes for point in route)]
    assert min(x for x, _ in every) == 0.0 == min(y for _, y in every)
    assert max(box[2] for box in boxes) <= found.width and max(box[3] for box in boxes) == found.height


def test_a_ladder_without_need_for_crossings_has_none() -> None:
    sizes = {(side, i): (30.0, 10.0) for i in range(5) for side in "ab"}
    edges = [Edge((side, i), ("ba"[side == "b"] if i == 2 else side, i + 1), 15.0, 15.0)
             for i in range(4) for side in "ab"]
    found = layout(dict(sorted(sizes.items(), key=str)), edges)
    for i in range(4):
        ends = [(r[0][0], r[-1][0]) for e, r in zip(edges, found.routes, strict=True) if e.source[1] == i]
        assert (ends[0][0] - ends[1][0]) * (ends[0][1] - ends[1][1]) > 0.0


def test_boxes_stand_in_the_order_of_the_ports_they_lead_to() -> None:
    sizes = {name: (width, 20.0) for name, width in (("c", 30.0), ("b", 120.0), ("a", 50.0), ("y", 90.0))}
    found = layout(sizes, [Edge("c", "y", 15.0, 70.0), Edge("b", "y", 60.0, 45.0), Edge("a", "y", 25.0, 20.0)])
    assert sorted("abc", key=lambda name: found.corners[name][0]) == ["a", "b", "c"]


def test_a_picture_is_saved_and_shows_itself(tmp_path: Path) -> None:
    picture = draw_graph(loss_of())
    picture.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == picture.svg == picture._repr_svg_()
    assert picture._repr_html_() == picture.svg and "<script" not in picture.svg


def test_gradient_flow_shows_each_size() -> None:
    model, batch = toy_model().train(), toy_batch()
    loss = model(**batch).loss
    execution = Execution(loss)
    found = execution.backward().of
    figure = gradient_flow(loss)
    figure.canvas.draw()
    blocks, weights, biases = [axes for part in figure.subfigs for axes in part.axes]
    names = [label.get_text() for label in blocks.get_yticklabels()]
    assert names[0] == "next-sentence head" and names[-1] == "embeddings" and "cross_entropy" not in names
    points = blocks.collections[0].get_offsets()
    last = next(node for node in execution.nodes if node.module == "bert.embeddings.dropout")
    assert points[-1][0] == pytest.approx(rms(found[last]))
    rows = [label.get_text() for label in weights.get_yticklabels()]
    dots = {series.get_label(): {rows[int(y)]: x for x, y in series.get_offsets()} for series in weights.collections}
    loss.backward()
    assert dots["layer 1"]["attention.self.query"] == pytest.approx(
        rms(model.bert.encoder.layer[1].attention.self.query.weight.grad))
    assert dots["outside the layers"]["embeddings.word_embeddings"] == pytest.approx(
        rms(model.bert.embeddings.word_embeddings.weight.grad))
    assert any("0, or rounding" in text.get_text() for text in biases.texts)  # the key's
    assert blocks.get_xlabel() == biases.get_xlabel() == "root mean square of the gradient"


def test_gradient_flow_of_a_loss_without_a_model() -> None:
    x = Parameter(np.random.default_rng(0).standard_normal((3, 5)))
    x.name = "x"
    gradient_flow((x * x * 2.0).sum()).canvas.draw()


def test_attention_maps_show_the_probabilities_of_one_text() -> None:
    model, batch = toy_model().train(), toy_batch()
    training = {module: module.training for module in model.modules()}
    step = model.bert.dropout_stream
    figure = attention_maps(model, batch, [f"w{i}" for i in range(11)], example=3, layers=[1], heads=[2, 0])
    figure.canvas.draw()
    assert training == {module: module.training for module in model.modules()} and step is model.bert.dropout_stream
    text = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    probs = model.eval()(**text, output_attentions=True).attentions[1][3]
    maps = figure.axes[:2]
    assert [axes.get_title() for axes in maps] == ["layer 1, head 2", "layer 1, head 0"]
    for axes, head in zip(maps, (2, 0), strict=True):
        assert np.array_equal(axes.images[0].get_array(), probs[head, :4, :4])  # 4 tokens, the others are padding
        assert axes.images[0].get_clim() == (0.0, probs[[2, 0], :4, :4].max())
    assert [label.get_text() for label in maps[0].get_yticklabels()] == ["w0", "w1", "w2", "w3"]


@pytest.mark.parametrize("length", [1, 5, 17])
def test_attention_maps_of_ids(length: int) -> None:
    model = toy_model(num_hidden_layers=6)
    figure = attention_maps(model.bert, np.arange(1, length + 1))
    figure.canvas.draw()
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 12 and titles[0] == "layer 0, head 0" and titles[-1] == "layer 5, head 2"
    assert figure.axes[0].get_yticklabels()[0].get_text() == "1"
    assert figure.get_figwidth() <= 9.2


def test_errors_say_what_to_do() -> None:
    loss, model, batch = loss_of(), toy_model(), toy_batch()
    with pytest.raises(InputError, match="levels block, op, not at 'module'"):
        draw_graph(loss, level="module")
    with pytest.raises(InputError, match=r"did you mean 'bert\.encoder\.layer\.0\.attention'"):
        draw_graph(loss, level="op", module="bert.encoder.layer.0.atention")
    with pytest.raises(InputError, match='add level="op"'):
        draw_graph(loss, module=ATTENTION)
    with pytest.raises(InputError, match="no graph to look into"):
        draw_graph(Tensor(np.ones(3)))
    with pytest.raises(InputError, match="has no input_ids"):
        attention_maps(model, {"labels": batch["labels"]})
    with pytest.raises(InputError, match="no example 7 in this batch of 7"):
        attention_maps(model, batch, example=7)
    with pytest.raises(InputError, match=r"heads must be some of 0 .. 2, not \[3\]"):
        attention_maps(model, batch, heads=[3])
    with pytest.raises(InputError, match="has 11 positions, and 2 tokens were given"):
        attention_maps(model, batch, ["a", "b"])
