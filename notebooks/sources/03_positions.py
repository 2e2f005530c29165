"""The code of notebook 3; its text is in en/03_positions.md."""

# %% setup
from itertools import permutations

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.lab.drawing import BLUE, GREY, RED, heat
from minibert.nn import Parameter, sinusoidal_positions
from minibert.ops.attention import attention, attention_backward
from minibert.ops.broadcast import unbroadcast
from minibert.ops.elementwise import add, add_backward
from minibert.ops.embedding import embedding, embedding_backward
from minibert.ops.linear import matmul_backward
from minibert.ops.softmax import softmax

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(3)

# %% shuffle
x = np.array([[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]])  # three words of width 2
order = [2, 0, 1]                                    # the third word comes first now
Pi = np.eye(3)[order]                                # Pi x: the rows of x in that order
probs, _ = softmax(x @ x.T / np.sqrt(2))             # queries, keys, values: all are x
probs_2, _ = softmax(Pi @ x @ (Pi @ x).T / np.sqrt(2))
y, y_2 = probs @ x, probs_2 @ (Pi @ x)
library, saved = attention(*[(Pi @ x)[None, None]] * 3)
print("probs:", lab.agree(shuffled=probs_2, rows_and_columns_moved=Pi @ probs @ Pi.T))
print("y:    ", lab.agree(shuffled=y_2, rows_moved=Pi @ y, library=library[0, 0]))
lab.matrices(probs=probs, shuffled_probs=probs_2, y=y, shuffled_y=y_2)

# %% shuffle-backward
dy = np.array([[0.3, -1.0], [1.2, 0.5], [-0.4, 0.8]])
_, saved_1 = attention(*[x[None, None]] * 3)
dx = sum(attention_backward(dy[None, None], *saved_1))[0, 0]  # three ways, added up
dx_2 = sum(attention_backward((Pi @ dy)[None, None], *saved))[0, 0]
numeric = lab.numeric_gradient(
    lambda x: (softmax(x @ x.T / np.sqrt(2))[0] @ x * dy).sum(), x)
print("dx:         ", lab.agree(library=dx, numeric=numeric))
print("dx shuffled:", lab.agree(found=dx_2, rows_moved=Pi @ dx))
lab.matrices(dy=dy, dx=dx, shuffled_dy=Pi @ dy, shuffled_dx=dx_2)

# %% orders
words, table = rng.standard_normal((2, 4, 8))  # four words; four position vectors


def read(x):
    """What a model sees that takes the mean over the positions after attention."""
    return attention(*[x[None, None]] * 3)[0].mean(axis=(0, 1, 2))[0]


orders = [list(order) for order in permutations(range(4))]
without = [read(words[order]) for order in orders]
with_positions = [read(words[order] + table) for order in orders]
print("different results without positions:", len(set(np.round(without, 9))))
print("different results with positions:   ", len(set(np.round(with_positions, 9))))
figure, axes = lab.figure(width=5.6, height=2.3)
axes.plot(without, "o-", color=RED, markersize=4, label="without positions")
axes.plot(with_positions, "o-", color=BLUE, markersize=4, label="with")
axes.set(title="24 orders of four words", xlabel="order", ylabel="first number read")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-order
lab.answer("3.1", ...)

# %% learned
e = np.array([[[1.0, 0.2, -0.5], [0.3, -1.0, 0.8]],  # B = 2 examples, T = 2, H = 3
              [[-0.4, 1.5, 0.0], [0.7, 0.1, -1.2]]])
P = np.array([[0.1, -0.2, 0.3], [0.0, 0.5, -0.1], [0.9, 0.9, 0.9]])  # N = 3
x = e + P[:2]  # both examples get the same rows
dx = rng.standard_normal(x.shape).round(1)
dP = np.zeros_like(P)
dP[:2] = dx[0] + dx[1]  # the sum over the batch
rows, saved_rows = embedding(P, np.arange(2))  # as in minibert: look up, then add
_, drows = add_backward(dx, *add(e, rows)[1])
library, = embedding_backward(drows, *saved_rows)  # (embedding 1')
numeric = lab.numeric_gradient(lambda P: ((e + P[:2]) * dx).sum(), P)
print(lab.agree(by_hand=dP, numeric=numeric, library=library))
print(lab.agree(by_hand=dP[:2], notebook_1=unbroadcast(dx, (2, 3))))
lab.matrices(dx_of_example_1=dx[0], dx_of_example_2=dx[1], dP=dP)

# %% reach
N = 24                                                  # rows of the table
lengths = np.minimum(rng.geometric(0.12, 300) + 2, 20)  # no text reaches row 20
mask = np.arange(N) < lengths[:, None]
ids = rng.integers(1, 30, mask.shape) * mask
labels = np.where(mask & (rng.random(mask.shape) < 0.3), ids, -100)
model = BertForPreTraining(BertConfig(
    vocab_size=30, hidden_size=12, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=24, max_position_embeddings=N), seed=1, dtype=np.float64).eval()
model(ids, attention_mask=mask, labels=labels).loss.backward()
gradient = model.bert.embeddings.position_embeddings.weight.grad
sizes = np.linalg.norm(gradient, axis=1)
print("longest text:", lengths.max(), "  rows with a gradient:", np.count_nonzero(sizes))

# %% reach-figure
figure, axes = lab.figure(1, 2, height=2.3)
axes[0].bar(range(N), mask.sum(axis=0), color=GREY)
axes[0].set(title="Few of 300 texts are long", xlabel="position",
            ylabel="texts that reach it")
axes[1].bar(range(N), sizes / sizes.max(), color=BLUE)
axes[1].set(title="What comes back to each row", xlabel="position",
            ylabel="size of dP, relative")
figure

# %% exercise-add
@lab.answer("3.2")
def my_add_backward(dz, x_shape, y_shape):
    """dz (B, T, H)  ->  dx of shape x_shape, dy of shape y_shape"""
    ...

# %% sinusoids
w = 10000.0 ** (-2 * np.arange(2) / 3)  # two frequencies; H = 3 has three waves
by_hand = np.array([[np.sin(w[0] * t), np.cos(w[0] * t), np.sin(w[1] * t)] for t in (0, 1)])
print(by_hand)
print(lab.agree(by_hand=by_hand, library=sinusoidal_positions(2, 3, np.float64)))
P = sinusoidal_positions(60, 32, np.float64)
figure, (left, right) = lab.figure(1, 2, height=2.9)
left.imshow(P, cmap="RdBu_r", aspect="auto")
left.set(title="A row for each position", xlabel="column", ylabel="position")
left.grid(False)
for i in (0, 4, 8):
    right.plot(P[:, i], label=f"column {i}")
right.set(title="A column is a wave, slower to the right", xlabel="position",
          ylim=(-1.1, 1.6))
right.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)
figure

# %% exercise-sinusoids
@lab.answer("3.3")
def my_sinusoids(t, hidden):
    """t (T,), any positions; hidden is even  ->  P (T, hidden)"""
    ...

# %% frequencies
t, w = np.array([1.0, 4.0]), np.array([1.0, 0.3, 0.05])  # T = 2 positions, 3 frequencies
waves = np.outer(t, w)  # 2 x 3
S, C = np.sin(waves), np.cos(waves)
dS, dC = rng.standard_normal((2, 2, 3))  # what comes back to both halves
dwaves = C * dS - S * dC  # the cosine falls as the sine rises
dw, dt = t @ dwaves, dwaves @ w
print("dw:", lab.agree(by_hand=dw, numeric=lab.numeric_gradient(
    lambda w: (np.sin(np.outer(t, w)) * dS + np.cos(np.outer(t, w)) * dC).sum(), w)))
print("dt:", lab.agree(by_hand=dt, numeric=lab.numeric_gradient(
    lambda t: (np.sin(np.outer(t, w)) * dS + np.cos(np.outer(t, w)) * dC).sum(), t)))
lab.matrices(sin=S, cos=C, dwaves=dwaves, dw=dw, dt=dt[:, None])

# %% distance
P = sinusoidal_positions(200, 32, np.float64)
w = 10000.0 ** (-2 * np.arange(16) / 32)
s, t = rng.integers(0, 200, (2, 500))  # 500 pairs of positions
dots = (P[s] * P[t]).sum(axis=1)
print(lab.agree(dot_products=dots, formula=np.cos(np.outer(s - t, w)).sum(axis=1)))
print("distance 7:", *(round(P[a] @ P[a + 7], 4) for a in (0, 50, 192)))
figure, (left, right) = lab.figure(1, 2, height=2.7)
for start, style in ((50, "-"), (100, "o"), (150, "x")):
    left.plot(range(-40, 41), P[start - 40:start + 41] @ P[start], style, markersize=4,
              label=f"from {start}")
left.set(title="Wherever one stands", xlabel="distance s - t", ylabel="dot product")
left.legend(frameon=False, fontsize=8)
image = right.imshow((P @ P.T)[:60, :60], cmap="Blues")
right.set(title="Every diagonal is constant", xlabel="t", ylabel="s")
right.grid(False)
figure.colorbar(image, ax=right, shrink=0.8, label="dot product")
figure

# %% exercise-norm
lab.answer("3.4", ...)

# %% rotation
def rotation(k, hidden):
    """R (hidden, hidden) with P[t + k] = P[t] R, for every t."""
    R = np.zeros((hidden, hidden))
    for i in range(0, hidden, 2):
        a = k * 10000.0 ** (-i / hidden)
        R[i:i + 2, i:i + 2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return R


R = rotation(-1, 32)
print(lab.agree(rotated=P[1:] @ R, one_to_the_left=P[:-1]))
five = np.linalg.matrix_power(R, 5)
print("R 5 times:", lab.agree(product=five, rotation=rotation(-5, 32)))
far = sinusoidal_positions(5000, 32, np.float64)[4990:]
print("far away: ", lab.agree(rotated=far[1:] @ R, one_to_the_left=far[:-1]))
figure, axes = lab.figure(width=2.8, height=2.6)
heat(axes, rotation(-1, 8), numbers=False)
axes.set_title("R for H = 8: blocks of 2 x 2", fontsize=9)
figure

# %% written-head
looks = {}
for first in (0, 4000):
    here = sinusoidal_positions(first + 12, 32, np.float64)[first:]
    looks[first], _ = softmax(20 * (here @ R) @ here.T)  # queries are rotated, keys are not
    print("from", first + 1, "on:", *first + looks[first].argmax(axis=1)[1:])
figure, axes = lab.figure(1, 2, height=2.6, width=5.6)
for ax, (first, probs) in zip(axes, looks.items()):
    ax.imshow(probs, cmap="Blues", vmin=0, vmax=1)
    ax.set(title=f"Positions {first} to {first + 11}", xlabel="key")
    ax.set_xticks(range(0, 12, 5), range(first, first + 12, 5))
    ax.set_yticks(range(0, 12, 5), range(first, first + 12, 5))
    ax.grid(False)
axes[0].set_ylabel("query")
figure

# %% four-terms
E, P16 = rng.standard_normal((5, 16)), sinusoidal_positions(5, 16, np.float64)
M = rng.standard_normal((16, 16)) / 4  # W^Q times W^K transposed
whole = (E + P16) @ M @ (E + P16).T
parts = {"word_word": E @ M @ E.T, "word_place": E @ M @ P16.T,
         "place_word": P16 @ M @ E.T, "place_place": P16 @ M @ P16.T}
print(lab.agree(scores=whole, sum_of_four=sum(parts.values())))
diagonal = np.diagonal(parts["place_place"], 1)
print("place-place, one to the right:", diagonal.round(2))
figure, axes = lab.figure(1, 4, height=1.9)
for ax, (name, part) in zip(axes, parts.items()):
    heat(ax, part, numbers=False)
    ax.set_title(name.replace("_", " and "), fontsize=9)
    ax.set_xlabel("key")
axes[0].set_ylabel("query")
figure

# %% convolution
def shift(k, T):
    """S (T, T): row t of S x is row t + k of x, or 0 where there is none."""
    return np.eye(T, k=k)


def convolution(x, W):
    """y_t = sum over k of x_(t+k) W_k, for k = -K .. K; x (T, H), W (2 K + 1, H, H)."""
    K, T = len(W) // 2, len(x)
    return sum(shift(k, T) @ x @ W[k + K] for k in range(-K, K + 1))


x = np.array([[1.0, 0.5, -1.0], [0.2, -0.8, 2.0]])  # T = 2, H = 3
W = rng.standard_normal((3, 3, 3)).round(1)         # one word back, itself, one ahead
y = convolution(x, W)
window = np.stack([np.r_[0, 0, 0, x[0], x[1]], np.r_[x[0], x[1], 0, 0, 0]])
print(lab.agree(by_shifts=y, as_one_product=window @ W.reshape(9, 3)))
lab.matrices(x=x, window=window, y=y)

# %% convolution-backward
def convolution_backward(dy, x, W):
    """dx (T, H), dW (2 K + 1, H, H)"""
    K, T = len(W) // 2, len(x)
    steps = range(-K, K + 1)
    dx = sum(shift(k, T).T @ dy @ W[k + K].T for k in steps)  # the shift goes back
    return dx, np.stack([(shift(k, T) @ x).T @ dy for k in steps])


dy = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])
dx, dW = convolution_backward(dy, x, W)
_, product = matmul_backward(dy, window, W.reshape(9, 3), False, False)
print("dx:", lab.agree(by_hand=dx, numeric=lab.numeric_gradient(
    lambda x: (convolution(x, W) * dy).sum(), x)))
print("dW:", lab.agree(by_hand=dW, notebook_1=product.reshape(3, 3, 3),
                       numeric=lab.numeric_gradient(
                           lambda W: (convolution(x, W) * dy).sum(), W)))
lab.matrices(dy=dy, dx=dx, dW_back=dW[0], dW_itself=dW[1], dW_ahead=dW[2])

# %% convolution-graph
x7, W7, dy7 = (rng.standard_normal(shape) for shape in ((7, 4), (5, 4, 4), (7, 4)))
X, kernel = Tensor(x7, requires_grad=True), Tensor(W7, requires_grad=True)
Y = sum(F.matmul(F.matmul(Tensor(shift(k, 7)), X), kernel[k + 2]) for k in range(-2, 3))
Y.backward(dy7)
dx7, dW7 = convolution_backward(dy7, x7, W7)
print("dx:", lab.agree(by_hand=dx7, graph=X.grad))
print("dW:", lab.agree(by_hand=dW7, graph=kernel.grad))

# %% window-figure
once = np.abs(np.eye(12, k=-1) + np.eye(12) + np.eye(12, k=1)) > 0  # kernel of three
twice = once.astype(int) @ once > 0  # two of them, one after the other
same = np.tile(rng.standard_normal(4), (12, 1))  # the same word twelve times
edges = np.abs(convolution(same, W7) - convolution(same, W7)[6]).max(axis=1)
figure, axes = lab.figure(1, 3, height=2.3)
for ax, reach, title in zip(axes, (once, twice), ("One reaches 1", "Two reach 2")):
    ax.imshow(reach, cmap="Blues", vmax=1.4)
    ax.set(title=title, xlabel="x at position", ylabel="y at position")
    ax.grid(False)
axes[2].bar(range(12), edges / edges.max(), color=BLUE)
axes[2].set(title="One word 12 times", xlabel="position", ylabel="unlike the middle by")
print("positions that differ from the middle:", *np.flatnonzero(edges > 1e-12))
figure

# %% exercise-convolution
@lab.answer("3.5")
def my_convolution_backward(dy, x, W):
    """dy (T, H), x (T, H), W (3, H, H)  ->  dx (T, H), dW (3, H, H)"""
    ...

# %% task
V, B, T, H = 8, 32, 12, 16  # words, examples, positions, width


def texts(examples=B):
    """Random words, one of them 0 and one of them 1; label 1 where word 0 comes first."""
    ids = rng.integers(2, V, (examples, T))
    at = rng.random((examples, T)).argsort(axis=1)[:, :2]
    np.put_along_axis(ids, at, np.array([[0, 1]]), axis=1)
    return ids, (at[:, 0] < at[:, 1]).astype(int), np.abs(at[:, 0] - at[:, 1])


test_ids, test_labels, distances = texts(2000)
print(*test_ids[0], "  label", test_labels[0], "  distance", distances[0])
print("share of label 1:", test_labels.mean().round(1))

# %% kinds
TABLE = 0.7 * rng.standard_normal((T, H))  # random, and never trained
SINUSOIDS = sinusoidal_positions(T, H, np.float64)


def placed(e, kind, model):
    """Word vectors e (B, T, H) with their positions, of some kind."""
    if kind == "learned":
        return e + model["P"]
    if kind == "redrawn":
        return e + 0.7 * rng.standard_normal((T, H))
    if kind.startswith("convolution"):
        W, K = model["W"], model["W"].shape[0] // 2
        return sum((F.matmul(F.matmul(Tensor(shift(k, T)), e), W[k + K])
                    for k in range(-K, K + 1)), e)
    return e + {"none": 0.0, "fixed random": TABLE, "sinusoidal": SINUSOIDS}[kind]

# %% model
def new_model(kind, seed=0):
    """Words, one attention of two heads, two classes, and what the kind needs."""
    draw = np.random.default_rng(seed)
    shapes = {"E": (V, H), "Wq": (H, H), "Wk": (H, H), "Wv": (H, H), "out": (2, H)}
    if kind == "learned":
        shapes["P"] = (T, H)
    if kind.startswith("convolution"):
        shapes["W"] = (int(kind.split()[1]), H, H)
    return {name: Parameter(0.3 * draw.standard_normal(s)) for name, s in shapes.items()}


def logits_of(ids, kind, model):
    """(B, 2): the mean over all positions, read by one linear map."""
    x = placed(F.embedding(model["E"], ids), kind, model)
    q, k, v = (F.split_heads(F.matmul(x, model[W]), 2) for W in ("Wq", "Wk", "Wv"))
    context = F.merge_heads(F.attention(q, k, v))
    return F.linear(F.tanh(x + context).mean(axis=1), model["out"])

# %% train
KINDS = ("none", "redrawn", "fixed random", "learned", "sinusoidal", "convolution 3",
         "convolution 7")
right = {}
for kind in KINDS:
    model = new_model(kind)
    optimizer = AdamW(model.values(), lr=0.01, weight_decay=0.0)
    for step in range(400):
        ids, labels, _ = texts()
        F.cross_entropy(logits_of(ids, kind, model), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    right[kind] = logits_of(test_ids, kind, model).data.argmax(axis=1) == test_labels
    print(f"{kind:14} {right[kind].mean():.1f}")

# %% train-figure
groups = {"learned, sinusoidal, fixed random, convolution 7: the lowest of the four":
              (("learned", "sinusoidal", "fixed random", "convolution 7"), BLUE, "o-"),
          "convolution 3": (("convolution 3",), RED, "^-"),
          "none": (("none",), GREY, "o-"), "redrawn": (("redrawn",), GREY, "s--")}
figure, axes = lab.figure(width=6.4, height=3.4)
for name, (kinds, colour, style) in groups.items():
    lowest = [min(right[kind][distances == d].mean() for kind in kinds)
              for d in range(1, 12)]
    axes.plot(range(1, 12), lowest, style, color=colour, label=name, markersize=5)
axes.set(title="A convolution of width 3 knows its neighbours, and the edges",
         xlabel="distance of the two words", ylabel="order named rightly", ylim=(0.1, 1.05))
axes.legend(frameon=False, fontsize=8, loc="lower left")
figure

# %% random-dots
random_table = rng.standard_normal((60, 64)) / np.sqrt(2)  # rows as long as below
sinusoids = sinusoidal_positions(60, 64, np.float64)
figure, axes = lab.figure(1, 2, height=2.8)
for ax, P, title in ((axes[0], sinusoids, "Sinusoidal: near is similar"),
                     (axes[1], random_table, "Random: all others alike")):
    image = ax.imshow(P @ P.T, cmap="RdBu_r", vmin=-32, vmax=32)
    ax.set(title=title, xlabel="t", ylabel="s")
    ax.grid(False)
    neighbours = np.diagonal(P @ P.T, 1).mean()
    print(f"{title}; the mean dot product of neighbours is {neighbours:.0f}")
figure.colorbar(image, ax=axes, shrink=0.8, label="dot product")
figure

# %% exercise-random
lab.answer("3.6", ...)

# %% next-position
figure, axes = lab.figure(width=5.6, height=2.5)
for name, P, colour in (("sinusoidal", sinusoids[:, :16], BLUE),
                        ("random", random_table[:, :16], RED)):
    A, *_ = np.linalg.lstsq(P[0:30], P[1:31], rcond=None)  # p_(t+1) = p_t A?
    error = np.linalg.norm(P[:-1] @ A - P[1:], axis=1) / np.linalg.norm(P[1:], axis=1)
    axes.semilogy(np.maximum(error, 1e-16), "o-", color=colour, markersize=3, label=name)
    print(f"{name:10} fitted: {error[:30].mean():.1f}, beyond: {error[30:].mean():.1f}")
axes.axvline(29.5, color="black", linewidth=0.7, linestyle=":")
axes.set(title="One map to the next position, fitted to the first 30", xlabel="position",
         ylabel="relative error")
axes.legend(frameon=False, fontsize=8, loc="center right")
figure

# %% seen
L = 24
ASKED = np.arange(L) % 3 != 0  # every third position is never asked
PLACES = {"fixed random": 0.7 * rng.standard_normal((L, H)),
          "sinusoidal": sinusoidal_positions(L, H, np.float64)}


def word_before(kind, model, ids):
    """Logits (B, L, V) for the word before each position, from one head; a map."""
    P = model["P"] if kind == "learned" else PLACES[kind]
    x = F.embedding(model["E"], ids) + P
    q, k, v = (F.matmul(x, model[W]).reshape(len(ids), 1, L, H) for W in ("Wq", "Wk", "Wv"))
    probs = softmax(q.data @ k.data.swapaxes(-1, -2) / np.sqrt(H))[0][:, 0].mean(axis=0)
    return F.linear(F.attention(q, k, v).reshape(len(ids), L, H), model["out"]), probs

# %% seen-train
def train(kind, steps=400):
    """Accuracy where training asked for the word before, and where it never did; a map."""
    draw = np.random.default_rng(0)
    shapes = {"E": (V, H), "P": (L, H), "out": (V, H)}
    shapes |= dict.fromkeys(("Wq", "Wk", "Wv"), (H, H))
    model = {name: Parameter(0.3 * draw.standard_normal(s)) for name, s in shapes.items()}
    optimizer = AdamW(model.values(), lr=0.01, weight_decay=0.0)
    for step in range(steps + 1):
        ids = rng.integers(0, V, (16, L))
        before = np.concatenate([np.full((16, 1), -100), ids[:, :-1]], axis=1)
        logits, probs = word_before(kind, model, ids)
        F.cross_entropy(logits, np.where(ASKED, before, -100)).backward()
        optimizer.step()
        optimizer.zero_grad()
    rightly = (logits.data.argmax(axis=-1) == before)[:, 1:]
    return rightly[:, ASKED[1:]].mean(), rightly[:, ~ASKED[1:]].mean(), probs

# %% seen-figure
figure, axes = lab.figure(1, 3, height=2.7)
for ax, kind in zip(axes, ("learned", "fixed random", "sinusoidal")):
    asked, never, probs = train(kind)
    print(f"{kind:13} where asked {asked:.1f}, where never asked {never:.1f}")
    ax.imshow(probs, cmap="Blues", vmin=0, vmax=1)
    for t in np.flatnonzero(~ASKED):
        ax.axhspan(t - 0.5, t + 0.5, color=RED, alpha=0.15, linewidth=0)
    ax.set(title=kind, xlabel="key")
    ax.grid(False)
axes[0].set_ylabel("query")
figure

# %% progress
lab.progress(3)
