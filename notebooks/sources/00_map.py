"""The code of notebook 0; its text is in en/00_map.md."""

# %% setup
from collections import Counter

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.debug import draw_graph
from minibert.graph import Node, topological_order
from minibert.lab.drawing import BLUE, GREEN, GREY, RED, heat
from minibert.nn import sinusoidal_positions
from minibert.ops import shape
from minibert.ops.activation import gelu, gelu_backward
from minibert.ops.add_norm import add_norm, add_norm_backward
from minibert.ops.attention import attention, attention_backward
from minibert.ops.embedding import embedding_backward
from minibert.ops.indexing import getitem, getitem_backward
from minibert.ops.linear import linear, linear_backward
from minibert.text import Document, PretrainingBatches, Tokenizer
from minibert.text.pairs import make_pairs

# %% seed
np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(0)

# %% text
names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
         "ten"]
documents = [Document(f"adding {b}", tuple(f"{names[a]} and {names[b]} make {a + b}."
                                           for a in range(11))) for b in range(1, 11)]
sentences = [sentence for document in documents for sentence in document.sentences]
tokenizer = Tokenizer.train(sentences, vocab_size=100)
loader = PretrainingBatches.from_documents(documents, tokenizer, batch_size=8,
                                           max_length=32)
batch = next(iter(loader))
for name, array in batch.items():
    print(f"{name:20} {array.shape}")
print(tokenizer.decode(batch["input_ids"][0])[:78], "...")

# %% untrained
V = tokenizer.vocab_size
model = BertForPreTraining(BertConfig(
    vocab_size=V, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=128, max_position_embeddings=32), seed=0, dtype=np.float64)
output = model(**batch)
print(f"masked words  {output.masked_lm_loss.item():.2f}, and ln {V} is {np.log(V):.2f}")
print(f"next sentence {output.next_sentence_loss.item():.2f}, and ln 2 is {np.log(2):.2f}")

# %% train
optimizer = AdamW(model.parameters(), lr=3e-3)
words, pairs = [], []
for epoch in range(30):
    for batch in loader:
        output = model(**batch)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        words.append(output.masked_lm_loss.item())
        pairs.append(output.next_sentence_loss.item())
print(f"{len(words)} steps: masked words {np.mean(words[-20:]):.1f}")

# %% train-figure
figure, axes = lab.figure(height=2.4)
for losses, colour, floor, label in ((words, BLUE, V, "masked words"),
                                     (pairs, RED, 2, "next sentence")):
    mean = np.convolve(losses, np.ones(10) / 10, "valid")
    axes.plot(mean, color=colour, label=label)
    axes.axhline(np.log(floor), color=colour, linestyle=":", label=f"a guess: ln {floor}")
axes.set(title="Two losses, and what a guess would cost", xlabel="step",
         ylabel="loss, nats", ylim=(0, None))
axes.legend(frameon=False, fontsize=8, ncols=2)
figure

# %% exercise-guess
lab.answer("0.1", ...)

# %% toy
H, A = 12, 3
toy = BertForPreTraining(BertConfig(
    vocab_size=30, hidden_size=H, num_hidden_layers=2, num_attention_heads=A,
    intermediate_size=24, max_position_embeddings=10), seed=1, dtype=np.float64).eval()
ids = np.array([[2, 7, 4, 9, 3, 12, 8, 3],                      # [CLS] A [SEP] B [SEP]
                [2, 5, 11, 9, 3, 4, 6, 3]])                     # 4 is [MASK]
segments = np.array([[0, 0, 0, 0, 0, 1, 1, 1]] * 2)
labels = np.full(ids.shape, -100)                               # -100: nothing is asked
labels[0, 2], labels[1, 5] = 21, 17                             # what is masked
out = toy(ids, segments, labels=labels, next_sentence_label=[0, 1])
draw_graph(out.loss)

# %% sizes
def sizes(V, H, L, F, T):
    """How many numbers each part of a BERT has."""
    norm, dense = 2 * H, H * H + H
    return {"word table": V * H, "positions, segments": (T + 2) * H + norm,
            "attention": L * (4 * dense + norm),
            "feed-forward": L * (2 * H * F + F + H + norm),
            "pooler and heads": dense + dense + norm + V + 2 * H + 2}


counted = sum(p.size for p in toy.parameters())
print("toy: ", sum(sizes(30, 12, 2, 24, 10).values()), counted)
base = sizes(30522, 768, 12, 3072, 512)
print(f"base: {sum(base.values()):,}")
figure, axes = lab.figure(height=1.7, width=5.6)
axes.barh(list(base), [n / 1e6 for n in base.values()], color=BLUE)
axes.invert_yaxis()
axes.set(title="The feed-forward parts are half of BERT-base", xlabel="million numbers")
figure

# %% exercise-projections
lab.answer("0.2", ...)

# %% operations
nodes = [x for x in topological_order(out.loss.node) if isinstance(x, Node)]
used = Counter(node.op.name for node in nodes)
print(len(nodes), "operations")
for op, n in used.most_common():
    print(f"{n:4} {op}")

# %% layer-forward
weights = {name: p.data for name, p in toy.bert.encoder.layer[0].named_parameters()}
HEADS = "query", "key", "value"


def forward(x, kept):
    """One layer of BERT; `kept` gets what each operation saves for its backward."""
    def run(name, op, *inputs):
        y, kept[name] = op(*inputs)
        return y

    def of(path):
        return weights[f"{path}.weight"], weights[f"{path}.bias"]
    q, k, v = (run(f"split {n}", shape.split_heads,
                   run(n, linear, x, *of(f"attention.self.{n}")), A) for n in HEADS)
    context = run("merge", shape.merge_heads, run("attention", attention, q, k, v))
    h = run("output", linear, context, *of("attention.output.dense"))
    a = run("norm 1", add_norm, h, x, *of("attention.output.LayerNorm"))
    f = run("gelu", gelu, run("wide", linear, a, *of("intermediate.dense")))
    h = run("narrow", linear, f, *of("output.dense"))
    return run("norm 2", add_norm, h, a, *of("output.LayerNorm"))

# %% layer-backward
def backward(dy, kept):
    """The same steps from the last to the first: dx."""
    dh, da, *_ = add_norm_backward(dy, *kept["norm 2"])
    df, *_ = linear_backward(dh, *kept["narrow"])
    dwide, = gelu_backward(df, *kept["gelu"])
    da = da + linear_backward(dwide, *kept["wide"])[0]          # a went two ways
    dh, dx, *_ = add_norm_backward(da, *kept["norm 1"])
    dmerged, *_ = linear_backward(dh, *kept["output"])
    dcontext, = shape.merge_heads_backward(dmerged, *kept["merge"])
    dheads = attention_backward(dcontext, *kept["attention"])
    for name, dhead in zip(HEADS, dheads):
        d, = shape.split_heads_backward(dhead, *kept[f"split {name}"])
        dx = dx + linear_backward(d, *kept[name])[0]            # x went four ways
    return dx

# %% layer-check
x = rng.standard_normal((1, 4, H))
dy = rng.standard_normal(x.shape)
kept = {}
y, dx = forward(x, kept), backward(dy, kept)
X = Tensor(x, requires_grad=True)
library = toy.bert.encoder.layer[0](X)
library.backward(dy)
numeric = lab.numeric_gradient(lambda x: (forward(x, {}) * dy).sum(), x)
print("y: ", lab.agree(by_hand=y, library=library))
print("dx:", lab.agree(by_hand=dx, numeric=numeric, library=X.grad))

# %% layer-graph
draw_graph(out.loss, level="op", module="bert.encoder.layer.0", gradients=True)

# %% slip-context
q, k = rng.standard_normal((2, 1, 1, 5, 2))
v = np.tile([2.0, -1.0], (1, 1, 5, 1))                          # five values, all the same
context, _ = attention(q, k, v)
print("softmax(..) V", *context[0, 0, :3])
print("V added      ", *(context + v)[0, 0, :3])
print("times Q      ", *(context * q)[0, 0, :3])
figure, axes = lab.figure(width=3.9, height=2.4)
for result, marker, colour, label in ((context + v, "x", RED, "V added"),
                                      (context * q, "+", GREY, "multiplied with Q"),
                                      (context, "o", BLUE, "the context")):
    axes.plot(*result[0, 0].T, marker, color=colour, label=label)
axes.set(title="A mean of equal values is that value", xlabel="first number",
         ylabel="second number")
axes.legend(frameon=False, fontsize=8)
figure

# %% slip-position
inside = [name for name, _ in toy.bert.encoder.named_parameters()]
print("parameters of positions in the layers:", sum("position" in name for name in inside))
order = np.array([0, 5, 3, 1, 6, 2, 4, 7])


def shuffled_later_and_before(model):
    """Outputs shuffled, and the outputs of shuffled words."""
    later = model.bert(ids).last_hidden_state.data[:, order]
    return later, model.bert(ids[:, order]).last_hidden_state.data


with_positions = shuffled_later_and_before(toy)
table = toy.bert.embeddings.position_embeddings.weight
learnt = table.data.copy()
table.assign(0 * learnt)
without = shuffled_later_and_before(toy)
table.assign(learnt)
print("without positions:", lab.agree(later=without[0], before=without[1]))
difference = np.abs(with_positions[0] - with_positions[1]).mean()
print(f"with positions they differ, by {difference:.2f} on average")

# %% slip-projections
one = toy.bert.encoder.layer[0].attention.self
projected = np.vstack([layer.weight.data for layer in (one.query, one.key, one.value)])
print(f"numbers to learn: {projected.size} weights in the projections, none in a split")
figure, axes = lab.figure(1, 2, height=2.6, width=6.0)
for panel, (title, dependence) in zip(axes, {"three projections": projected,
                                             "a split into thirds": np.eye(H)}.items()):
    heat(panel, dependence)
    third = len(dependence) // 3
    panel.set_yticks([third * i + (third - 1) / 2 for i in range(3)], ["q", "k", "v"])
    panel.set(title=title, xlabel="the 12 numbers of one token", aspect="auto")
    for edge in (third, 2 * third):
        panel.axhline(edge - 0.5, color=GREY)
figure

# %% getitem
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])              # 2 tokens of width 3
y, saved = getitem(x, 0)
dy = np.array([0.7, -0.4, 1.2])
by_hand = np.zeros_like(x)
by_hand[0] = dy
library, = getitem_backward(dy, *saved)
numeric = lab.numeric_gradient(lambda x: (getitem(x, 0)[0] * dy).sum(), x)
print(lab.agree(by_hand=by_hand, numeric=numeric, library=library))
lab.matrices(x=x, y=y, dy=dy, dx=library)

# %% slip-pooler
states = Tensor(out.last_hidden_state.data, requires_grad=True)
scores = toy.cls.seq_relationship(toy.bert.pooler(states))
F.cross_entropy(scores, [0, 1]).backward()
reached = np.sqrt((states.grad**2).sum(axis=(0, 2)))
print("places with a gradient:", np.flatnonzero(reached))
last = np.concatenate([batch["attention_mask"][:, -1] for batch in loader])
print(f"rows above that end in padding: {(last == 0).sum()} of {len(last)}")
figure, axes = lab.figure(height=1.7, width=5.2)
axes.bar(range(8), reached, color=BLUE)
axes.set_xticks(range(8), ["[CLS]", *"AAA", "[SEP]", *"BB", "[SEP]"])
axes.set(title="What the next-sentence loss says to each place", ylabel="length of dx")
figure

# %% exercise-getitem
@lab.answer("0.3")
def my_getitem_backward(dy, x_shape, index):
    """dy has the shape of x[index]  ->  dx, of shape x_shape"""
    ...

# %% slip-segments
E = toy.bert.embeddings.word_embeddings.weight.data
print(lab.agree(segment_A=E[segments][0, 0], PAD=E[0]))
dx = rng.standard_normal((*ids.shape, H))
own, = embedding_backward(dx, ids, E.shape)
shared = own + embedding_backward(dx, segments, E.shape)[0]
for name, dE in (("own table", own), ("rows of the word table", shared)):
    lengths = np.linalg.norm(dE, axis=1)
    print(f"{name:24} |dE| of [PAD] {lengths[0]:.2f}, of [UNK] {lengths[1]:.2f}")

# %% slip-random
waves = sinusoidal_positions(40, 64, np.float64)
drawn = rng.standard_normal((40, 64))
figure, axes = lab.figure(1, 2, height=2.7, width=6.4)
for panel, (title, P) in zip(axes, {"sine and cosine": waves, "random": drawn}.items()):
    P = P / np.linalg.norm(P, axis=1, keepdims=True)
    image = panel.imshow(P @ P.T, cmap="RdBu_r", vmin=-1, vmax=1)
    panel.set(title=title, xlabel="position", ylabel="position")
    panel.grid(False)
    near, far = np.diag(P @ P.T, 1).mean(), np.diag(P @ P.T, 20).mean()
    print(f"{title:16} cosine of neighbours {near:5.2f}, at distance 20 {far:5.2f}")
figure.colorbar(image, ax=axes, shrink=0.8, label="cosine")
figure

# %% slip-residual
deep = BertForPreTraining(BertConfig(
    vocab_size=30, hidden_size=24, num_hidden_layers=12, num_attention_heads=4,
    intermediate_size=96, max_position_embeddings=10), seed=1, dtype=np.float64).eval()


def cosine(a, b):
    """Of each token of a with the same token of b, on average."""
    return ((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))).mean()


def through(depth, second, x, dy):
    """How much of x is in the output, and how much of dy in dx."""
    X = y = Tensor(x, requires_grad=True)
    for layer in deep.bert.encoder.layer[:depth]:
        a = layer.attention(y)
        f = layer.output.dense(layer.intermediate(a))
        y = layer.output.LayerNorm(f + a if second else f)
    (y * dy).sum().backward()
    return cosine(y.data, x), cosine(X.grad, dy)

# %% slip-residual-figure
x, dy = rng.standard_normal((2, 1, 10, 24))
figure, axes = lab.figure(1, 2, height=2.5)
for second, colour, label in ((True, BLUE, "with it"), (False, RED, "without")):
    curves = np.array([through(depth, second, x, dy) for depth in range(1, 13)])
    for panel, curve in zip(axes, curves.T):
        panel.plot(range(1, 13), curve, "o-", color=colour, markersize=3, label=label)
    print(f"{label:8} after 12 layers: {curves[-1, 0]:5.2f} and {curves[-1, 1]:5.2f}")
axes[0].set(title="Is the word still in its output?", ylabel="cosine of y and x",
            xlabel="layers", ylim=(-0.3, 1.05))
axes[1].set(title="Does the gradient find it?", ylabel="cosine of dx and dy",
            xlabel="layers", ylim=(-0.3, 1.05))
axes[0].legend(frameon=False, fontsize=8, title="second residual")
figure

# %% exercise-block
@lab.answer("0.4")
def block(x, attention, feed_forward, norm):
    """x (T, H) and three functions (T, H) -> (T, H)  ->  y (T, H), post-norm"""
    ...

# %% slip-loss
def changed(with_loss):
    """One step of a loop: how many parameters it changed."""
    model = BertForPreTraining(toy.config, seed=1, dtype=np.float64)
    before = [p.data.copy() for p in model.parameters()]
    optimizer = AdamW(model.parameters(), lr=1e-3)
    output = model(ids, segments, labels=labels, next_sentence_label=[0, 1])
    if with_loss:
        output.loss.backward()
    optimizer.step()
    pairs = zip(before, model.parameters())
    return sum(not np.array_equal(old, p.data) for old, p in pairs), len(before)


for with_loss in (False, True):
    name = "with a loss" if with_loss else "without one"
    print("{}: {} of {} parameters changed".format(name, *changed(with_loss)))

# %% slip-next
running = np.arange(6 * 5 * 4).reshape(6, 5, 4)         # documents, sentences, words
made = make_pairs([list(document) for document in running], max_length=24, seed=0, epoch=0)
table = {0: Counter(), 1: Counter()}
for pair in made:
    if pair.a[0] // 20 != pair.b[0] // 20:
        where = "B is of another document"
    else:
        where = "B follows A" if pair.b[0] == pair.a[-1] + 1 else "B is elsewhere in it"
    table[pair.label][where] += 1
for label, counts in table.items():
    print(f"label {label}:", *(f"{n} pairs, {where}" for where, n in counts.items()))
pair = made[1]
print("an example of label", pair.label, pair.a, pair.b)

# %% slip-next-figure
figure, axes = lab.figure(height=2.0)
for row, pair in enumerate(made):
    colour = GREEN if pair.label == 0 else RED
    axes.plot(pair.a[[0, -1]], [row, row], color=GREY, linewidth=5)
    axes.plot(pair.b[[0, -1]], [row, row], color=colour, linewidth=5)
axes.plot([], [], color=GREY, linewidth=5, label="A")
axes.plot([], [], color=GREEN, linewidth=5, label="B, label 0")
axes.plot([], [], color=RED, linewidth=5, label="B, label 1")
axes.set_xticks(range(0, 121, 20))
axes.set(title="Green joins on to grey in the same document", yticks=[], ylabel="pairs",
         xlabel="place in the corpus; a document ends at each line")
axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
figure

# %% exercise-next
lab.answer("0.5", ...)                                  # four labels, as [1, 2, 3, 4]

# %% slip-summary
for T in (3, 5, 8):
    encoded = toy.bert(ids[:, :T])
    print(f"{T} tokens: one vector each {encoded.last_hidden_state.shape}, "
          f"and of [CLS] alone {encoded.pooler_output.shape}")

# %% slip-summary-figure
picture = toy.bert(ids[:1], segments[:1]).last_hidden_state.data[0]
figure, axes = lab.figure(height=2.2, width=5.6)
heat(axes, picture, numbers=False)
axes.set_yticks(range(8), ["[CLS]", *"AAA", "[SEP]", *"BB", "[SEP]"])
axes.set(title="What comes out: a vector for each token", xlabel="H = 12 numbers")
figure

# %% exercise-shape
lab.answer("0.6", ...)                                  # a shape, as [1, 2, 3]

# %% progress
lab.progress(0)
