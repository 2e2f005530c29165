"""The code of notebook 5; its text is in en/05_heads.md."""

# %% setup
import numpy as np

from minibert import AdamW, Tensor, lab
from minibert import functional as F
from minibert.debug import draw_graph
from minibert.lab.drawing import BLUE, RED, heat
from minibert.nn import Initializer, Parameter, SelfAttention
from minibert.ops.attention import attention, attention_backward, attention_probs
from minibert.ops.linear import linear, linear_backward, matmul_backward
from minibert.ops.shape import (
    merge_heads,
    merge_heads_backward,
    split_heads,
    split_heads_backward,
)
from minibert.ops.softmax import softmax_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(5)

# %% one-mean
words = {"dog": [2.0, 0.0, 1.0], "bites": [0.5, 0.5, 0.5], "man": [0.0, 1.0, -1.0]}
dog_man = np.array([words[w] for w in ("dog", "bites", "man")])
man_dog = dog_man[::-1]
both = np.array([0.5, 0.0, 0.5])  # one head: a half for each neighbour
left, right = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])  # two heads
one = [both @ text for text in (dog_man, man_dog)]
two = [np.concatenate([left @ text, right @ text]) for text in (dog_man, man_dog)]
print("one head: ", lab.agree(dog_bites_man=one[0], man_bites_dog=one[1]))
print("two heads:", two[0], "and", two[1])
figure, axes = lab.figure(1, 2, height=1.6, width=5.6, width_ratios=(1, 2))
for ax, rows, title in zip(axes, (one, two), ("One mean", "Two means, side by side")):
    heat(ax, np.array(rows))
    ax.set_title(title, fontsize=9)
axes[0].set_yticks([0, 1], ["dog bites man", "man bites dog"])
figure

# %% heads-by-hand
x = np.array([[1.0, 0.5, -1.0], [0.2, -0.8, 2.0]])        # T = 2, H = 3
Wq, Wk, Wv = np.round(rng.standard_normal((3, 4, 3)), 1)  # 4 rows: A D = 2 x 2
h = []
for i in (0, 1):
    rows = slice(2 * i, 2 * i + 2)                        # the matrices of head i
    q_i, k_i, v_i = (x @ W[rows].T for W in (Wq, Wk, Wv))
    powers = np.exp(q_i @ k_i.T / np.sqrt(2))
    h.append(powers / powers.sum(axis=-1, keepdims=True) @ v_i)
    print(f"h_{i + 1}", *h[i])

# %% heads-at-once
q, k, v = (split_heads(x[None] @ W.T, 2)[0] for W in (Wq, Wk, Wv))  # one product each
context, saved = attention(q, k, v)                                 # both heads at once
print("q: B, A, T, D =", *q.shape)
print(lab.agree(by_hand=np.stack(h), library=context[0]))
whole = x @ Wq.T
lab.matrices(x=x, Wq=Wq, x_Wq=whole, q_1=whole[:, :2], q_2=whole[:, 2:])

# %% exercise-count
lab.answer("5.1", ...)

# %% split
z = rng.standard_normal((1, 2, 6))  # B = 1, T = 2, H = 6
A, D = 3, 2
y = np.stack([z[:, :, a * D:(a + 1) * D] for a in range(A)], axis=1)  # slices, stacked
dy = rng.standard_normal(y.shape)
dz = np.concatenate([dy[:, a] for a in range(A)], axis=-1)  # and side by side again
library, saved_split = split_heads(z, A)
numeric = lab.numeric_gradient(lambda z: (split_heads(z, A)[0] * dy).sum(), z)
print("split: ", lab.agree(by_hand=y, library=library))
print("dz:    ", lab.agree(by_hand=dz, numeric=numeric,
                           library=split_heads_backward(dy, *saved_split)[0]))
library, saved_merge = merge_heads(y)
print("merge: ", lab.agree(of_the_split=library, before_it=z))
print("its dy:", lab.agree(by_hand=dy, library=merge_heads_backward(dz, *saved_merge)[0]))
lab.matrices(z=z[0], head_1=y[0, 0], head_2=y[0, 1], head_3=y[0, 2])

# %% permutation
columns = [split_heads(one.reshape(1, 2, 6), A)[0].ravel() for one in np.eye(12)]
J = np.stack(columns, axis=1)  # dy / dz, 12 x 12
print("J^T J:", lab.agree(product=J.T @ J, identity=np.eye(12)))
print("J^T dy:", lab.agree(jacobian=J.T @ dy.ravel(), by_hand=dz.ravel()))
figure, axes = lab.figure(height=3.0, width=3.4)
axes.imshow(J, cmap="Blues")
axes.set(title="Splitting moves each number once", xlabel="number of z",
         ylabel="number of y", xticks=range(12), yticks=range(12))
axes.grid(False)
figure

# %% reshape-wrong
labels = np.array([[f"{t}{'abcd'[column]}" for column in range(4)] for t in range(4)])
right_heads = labels.reshape(4, 2, 2).swapaxes(0, 1)  # (A, T, D)
wrong_heads = labels.reshape(2, 4, 2)                 # no transpose
figure, axes = lab.figure(1, 5, height=1.9)
for ax, names, title in zip(axes, (labels, *right_heads, *wrong_heads),
                              ("x", "head 1", "head 2", "head 1, wrong", "head 2, wrong")):
    ax.imshow(np.vectorize(lambda s: int(s[0]))(names), cmap="Blues", vmin=0, vmax=6)
    for place, name in np.ndenumerate(names):
        ax.text(*place[::-1], name, ha="center", va="center", fontsize=8)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
axes[0].set_ylabel("position 0 .. 3")
figure

# %% half-blind
def outputs(x, split, merge):
    """Attention of two heads, without projections; every position may look at every one."""
    q = split(x)
    return merge(attention(q, q, q)[0])


right = (lambda x: split_heads(x, 2)[0]), (lambda y: merge_heads(y)[0])
wrong = (lambda x: x.reshape(1, 2, 6, 2)), (lambda y: y.reshape(1, 6, 4))
before, after = rng.standard_normal((2, 1, 6, 4))
after[:, 1:] = before[:, 1:]  # another first word
figure, axes = lab.figure(width=4.8, height=2.3)
for offset, (split, merge), colour, name in ((-0.2, right, BLUE, "split_heads"),
                                             (0.2, wrong, RED, "reshape alone")):
    change = np.abs(outputs(after, split, merge) - outputs(before, split, merge))[0].max(-1)
    print(f"{name:14}", "changed at positions", *np.flatnonzero(change))
    axes.bar(np.arange(6) + offset, change, 0.4, color=colour, label=name)
axes.set(title="Another word at 0: what changes", xlabel="position", ylabel="change")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-split
@lab.answer("5.2")
def my_split_heads(x, heads):
    """x (B, T, H)  ->  y (B, A, T, D), with H = A D"""
    ...

# %% exercise-merge-backward
@lab.answer("5.3")
def my_merge_heads_backward(dy, heads):
    """dy (B, T, H)  ->  dx (B, A, T, D)"""
    ...

# %% output
concat = np.concatenate(h, axis=-1)            # 2 x 4
Wo = np.round(rng.standard_normal((3, 4)), 1)  # W^O, transposed
y = concat @ Wo.T                              # (linear 1)  2 x 3
parts = [h_i @ Wo[:, 2 * i:2 * i + 2].T for i, h_i in enumerate(h)]
print(lab.agree(concatenated=y, sum_of_heads=sum(parts), library=linear(concat, Wo)[0]))
lab.matrices(from_head_1=parts[0], from_head_2=parts[1], y=y)

# %% output-backward
dy = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])
dconcat, dWo = dy @ Wo, dy.T @ concat  # (linear 1')
dh = [dy @ Wo[:, :2], dy @ Wo[:, 2:]]  # a head: its columns
dWo_heads = np.concatenate([dy.T @ h[0], dy.T @ h[1]], axis=1)
library = linear_backward(dy, concat, Wo, False)
notebook_1 = matmul_backward(dy, concat, Wo.T, False, False)
print("dconcat:", lab.agree(
    by_hand=dconcat, heads=np.hstack(dh), library=library[0], notebook_1=notebook_1[0],
    numeric=lab.numeric_gradient(lambda c: (c @ Wo.T * dy).sum(), concat)))
print("dWo:    ", lab.agree(
    by_hand=dWo, heads=dWo_heads, library=library[1], notebook_1=notebook_1[1].T,
    numeric=lab.numeric_gradient(lambda W: (concat @ W.T * dy).sum(), Wo)))
lab.matrices(dy=dy, dh_1=dh[0], dh_2=dh[1], dWo=dWo)

# %% whole-backward
dq, dk, dv = [], [], []
for i in (0, 1):
    q_i, k_i, v_i, probs_i = q[0, i], k[0, i], v[0, i], saved[3][0, i]
    dprobs = dh[i] @ v_i.T                                      # (3') of notebook 4
    dscores, = softmax_backward(dprobs, probs_i)                # (2')
    dq.append(dscores @ k_i / np.sqrt(2))                       # (1')
    dk.append(dscores.T @ q_i / np.sqrt(2))
    dv.append(probs_i.T @ dh[i])
dq, dk, dv = (np.concatenate(d, axis=1) for d in (dq, dk, dv))  # merged: 2 x 4
dWq, dWk, dWv = (d.T @ x for d in (dq, dk, dv))                 # 4 x 3
ways = dq @ Wq, dk @ Wk, dv @ Wv                                # x went three ways
dx = sum(ways)
print("dx", *dx)
lab.matrices(through_q=ways[0], through_k=ways[1], through_v=ways[2], dx=dx)

# %% whole-numeric
given = {"x": x, "Wq": Wq, "Wk": Wk, "Wv": Wv, "Wo": Wo}


def multi_head(x, Wq, Wk, Wv, Wo):
    """Two heads, from the library's operations; tensors."""
    q, k, v = (F.split_heads(F.linear(x.reshape(1, 2, 3), W), 2) for W in (Wq, Wk, Wv))
    return F.linear(F.merge_heads(F.attention(q, k, v)), Wo)


leaves = {name: Tensor(one, requires_grad=True, name=name) for name, one in given.items()}
multi_head(**leaves).backward(dy[None])
for (name, leaf), by_hand in zip(leaves.items(), (dx, dWq, dWk, dWv, dWo)):
    def value(array, name=name):
        tensors = {other: Tensor(one) for other, one in (given | {name: array}).items()}
        return (multi_head(**tensors).data * dy).sum()
    numeric = lab.numeric_gradient(value, leaf.data)
    print(f"d{name}:", lab.agree(by_hand=by_hand, numeric=numeric, graph=leaf.grad))

# %% whole-graph
draw_graph(multi_head(**leaves))

# %% layer
layer = SelfAttention(6, 3, 0.0, Initializer(seed=5, std=0.5, dtype=np.float64))
x6, dcontext6 = rng.standard_normal((2, 1, 4, 6))          # B = 1, T = 4, H = 6
weights = [layer.query.weight, layer.key.weight, layer.value.weight]
qkv = [split_heads(x6 @ W.data.T, 3)[0] for W in weights]  # biases are 0 still
heads = [attention(*(array[:, i:i + 1] for array in qkv))[0][:, 0] for i in range(3)]
layer(Tensor(x6)).backward(dcontext6)
print("context:", lab.agree(heads=np.concatenate(heads, -1), layer=layer(Tensor(x6))))
gradients = attention_backward(split_heads(dcontext6, 3)[0], *attention(*qkv)[1])
for name, W, d in zip("qkv", weights, gradients):
    rows = merge_heads(d)[0].reshape(4, 6).T @ x6[0]
    print(f"dW{name}:   ", lab.agree(heads=rows, layer=W.grad))

# %% neighbours
q4 = np.array([[1.0, 0.0], [0.5, 2.0]])                         # notebook 4's example
k4 = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
v4 = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
notebook_4 = np.array([[0.4011, -0.2033], [-0.2641, -0.1531]])  # its printed context
two_heads = [np.stack([one, rng.standard_normal(one.shape)])[None] for one in (q4, k4, v4)]
found, _ = attention(*two_heads)
print("head 1:", lab.agree(1e-4, beside_head_2=found[0, 0], notebook_4=notebook_4))

# %% exercise-three-ways
@lab.answer("5.4")
def input_gradient(dq, dk, dv, Wq, Wk, Wv):
    """dq, dk, dv (B, A, T, D), Wq, Wk, Wv (H, H)  ->  dx (B, T, H)"""
    ...

# %% footprint
x8 = rng.standard_normal((4, 8))              # T = 4, H = 8
projections = rng.standard_normal((2, 8, 8))  # Wq, Wk
cut = np.eye(8), np.eye(8)                    # q = k = x
dprobs = rng.standard_normal((4, 4, 4))


def looks(x, matrices):
    """probs (A, T, T) of 4 heads."""
    q, k = (split_heads((x @ W.T)[None], 4)[0] for W in matrices)
    return attention_probs(q, k)[0]

# %% footprint-figure
figure, axes = lab.figure(1, 2, height=1.9)
pictures = {"Cut from the embedding": cut, "Projected": projections}
for ax, (title, pair) in zip(axes, pictures.items()):
    slopes = [lab.numeric_gradient(
        lambda x, a=a, pair=pair: (looks(x, pair)[a] * dprobs[a]).sum(), x8)
        for a in range(4)]
    touched = np.abs(slopes).sum(axis=1) > 1e-6  # 4 heads x 8 numbers
    ax.imshow(touched, cmap="Blues", vmin=0, vmax=1.4)
    ax.set(title=title, xlabel="number of the embedding", yticks=range(4), xticks=range(8))
    ax.set_yticklabels(range(1, 5))
    ax.grid(False)
    print(f"{title}: a head depends on {touched[0].sum()} of 8 numbers")
axes[0].set_ylabel("head")
figure

# %% symmetric
figure, axes = lab.figure(1, 2, height=2.4, width=5.2)
same = x8[:, :2] @ x8[:, :2].T
Wq_1, Wk_1 = projections[:, :2]
projected = (x8 @ Wq_1.T) @ (x8 @ Wk_1.T).T
print(lab.agree(scores=same, turned=same.T))
print("projected: 0 to 3", projected[0, 3].round(2), "and 3 to 0", projected[3, 0].round(2))
for ax, scores, title in zip(axes, (same, projected), ("Cut: symmetric", "Projected: not")):
    heat(ax, scores)
    ax.set_title(title, fontsize=9)
    ax.set(xlabel="key", xticks=range(4), yticks=range(4))
axes[0].set_ylabel("query")
figure

# %% no-position
order = np.array([2, 0, 3, 1])       # the words, shuffled
shuffled = layer(Tensor(x6[:, order]))
print(lab.agree(shuffled=shuffled, rows_shuffled_alike=layer(Tensor(x6)).data[:, order]))
marks = rng.standard_normal((4, 6))  # some position vectors
with_marks = layer(Tensor(x6[:, order] + marks)).data
off = np.abs(with_marks - layer(Tensor(x6 + marks)).data[:, order]).max()
print("with positions added to x, the rows differ by up to", off.round(2))
lab.matrices(in_order=layer(Tensor(x6)).data[0], shuffled=shuffled.data[0])

# %% task
V, B, T, H = 10, 32, 10, 16  # words, examples, positions, width
RELATIONS = (-2, -1, 1, 2)   # where to look, seen from a position


def texts():
    """Random words (B, T); for each position four labels, -100 beyond the text's ends."""
    ids = rng.integers(0, V, (B, T))
    labels = np.full((B, T, 4), -100)
    for r, step in enumerate(RELATIONS):
        at = np.arange(max(0, -step), min(T, T - step))
        labels[:, at, r] = ids[:, at + step]
    return ids, labels


ids, labels = texts()
print("words       ", *ids[0])
print("at 4 wanted:", *labels[0, 4], " at 0:", *labels[0, 0])

# %% model
def new_model(seed):
    """Word and position vectors, four matrices, four outputs: for any number of heads."""
    draw = np.random.default_rng(seed)
    shapes = {"E": (V, H), "P": (T, H), "out": (4 * V, H)}
    shapes |= dict.fromkeys(("Wq", "Wk", "Wv", "Wo"), (H, H))
    return {n: Parameter(0.3 * draw.standard_normal(shape)) for n, shape in shapes.items()}


def logits_of(ids, model, heads, gates=None):
    """(B, T, 4, V): what each position says about the four words."""
    x = F.embedding(model["E"], ids) + model["P"]
    q, k, v = (F.split_heads(F.linear(x, model[W]), heads) for W in ("Wq", "Wk", "Wv"))
    context = F.attention(q, k, v)
    if gates is not None:
        context = context * gates.reshape(heads, 1, 1)
    y = F.linear(F.merge_heads(context), model["Wo"])
    return F.linear(y, model["out"]).reshape(len(ids), T, 4, V)

# %% train
def train(model, heads, steps=400):
    """The losses on the way."""
    optimizer, losses = AdamW(model.values(), lr=0.02, weight_decay=0.0), []
    for _ in range(steps):
        ids, labels = texts()
        loss = F.cross_entropy(logits_of(ids, model, heads), labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return losses


def accuracy(model, heads, gates=None):
    """Of each relation: how many of the words that there are."""
    right = logits_of(ids, model, heads, gates).data.argmax(-1) == labels
    return right.sum((0, 1)) / (labels >= 0).sum((0, 1))

# %% exercise-one-mean
lab.answer("5.5", ...)

# %% measure
models, curves, score = {}, {}, {}
for heads in (1, 2, 4, 8, 16):
    models[heads] = new_model(seed=0)
    curves[heads] = train(models[heads], heads)
    score[heads] = accuracy(models[heads], heads)
numbers = {sum(p.data.size for p in model.values()) for model in models.values()}
print("numbers in a model:", *numbers, "with any number of heads")
for heads in (4, 8):
    print(heads, "heads:", *score[heads].round(1))
print("worse with 1, 2, 16 heads:", all(score[n].mean() < 0.95 for n in (1, 2, 16)))

# %% measure-figure
figure, (left_ax, right_ax) = lab.figure(1, 2)
for heads in (1, 2, 4, 16):
    smooth = np.convolve(curves[heads], np.ones(10) / 10, "valid")
    left_ax.plot(smooth, label=f"{heads} head{'s' * (heads > 1)}")
left_ax.axhline(np.log(V), color="black", linewidth=0.7, linestyle=":")
left_ax.set(title="Too few heads stay stuck, and width 1", xlabel="step",
              ylabel="loss, nats", ylim=(0, None))
left_ax.legend(frameon=False, fontsize=8)
right_ax.plot(range(5), [one.mean() for one in score.values()], "o-")
right_ax.axhline(1 / V, color="black", linewidth=0.7, linestyle=":")
right_ax.set(title="Four relations want four heads", xlabel="heads x width of a head",
               ylabel="words named rightly", ylim=(0, 1.05), xticks=range(5))
right_ax.set_xticklabels([f"{n} x {H // n}" for n in score])
figure

# %% width-one
angles = 2 * np.pi * np.arange(8) / 8
keys = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # 8 on a circle
queries = 3 * rng.standard_normal((400, 2))
figure, axes = lab.figure(1, 2, height=2.4, sharey=True)
for ax, width in zip(axes, (1, 2)):
    q, k = queries[None, None, :, :width], keys[None, None, :, :width]
    probs = attention_probs(q, k)[0, 0]
    favourites = np.bincount(probs.argmax(axis=-1), minlength=8)
    print(f"width {width}: {(favourites > 0).sum()} of 8 keys are ever looked at most")
    ax.bar(range(8), favourites, color=BLUE)
    ax.set(title=f"Heads of width {width}", xlabel="key", xticks=range(8))
axes[0].set_ylabel("queries that favour it")
figure

# %% maps
def maps(model, heads):
    """Who looks at whom, the mean over the texts: (A, T, T)."""
    x = model["E"].data[ids] + model["P"].data
    q, k = (split_heads(linear(x, model[W].data)[0], heads)[0] for W in ("Wq", "Wk"))
    return attention_probs(q, k).mean(axis=0)


four, pictures = models[4], maps(models[4], 4)
looked = [[np.diagonal(one, r).mean() for r in RELATIONS] for one in pictures]
figure, axes = lab.figure(1, 4, height=2.2)
for i, (ax, one) in enumerate(zip(axes, pictures)):
    print(f"head {i + 1} looks at position t {RELATIONS[int(np.argmax(looked[i]))]:+d}")
    ax.imshow(one, cmap="Blues", vmin=0, vmax=1)
    ax.set(title=f"head {i + 1}: t {RELATIONS[int(np.argmax(looked[i]))]:+d}", xlabel="key")
    ax.set(xticks=range(0, T, 3), yticks=range(0, T, 3))
    ax.grid(False)
axes[0].set_ylabel("query")
figure

# %% gate
def gated(g):
    """The small example's y, with each head multiplied by its gate."""
    return (g[0] * h[0]) @ Wo[:, :2].T + (g[1] * h[1]) @ Wo[:, 2:].T


dg = np.array([(dh_i * h_i).sum() for dh_i, h_i in zip(dh, h)])
numeric = lab.numeric_gradient(lambda g: (gated(g) * dy).sum(), np.ones(2))
G = Tensor(np.ones(2), requires_grad=True)
both = F.merge_heads(Tensor(np.stack(h)[None]) * G.reshape(2, 1, 1))
F.linear(both, Tensor(Wo)).backward(dy[None])
print(dg, lab.agree(by_hand=dg, numeric=numeric, graph=G.grad))
lab.matrices(h_1=h[0], dh_1=dh[0], h_2=h[1], dh_2=dh[1], dg=dg)

# %% prune
def without(head, heads):
    """Gates that let all heads through but one."""
    gates = np.ones(heads)
    gates[head] = 0.0
    return gates


print("after pruning one of 4:")
print(*[accuracy(four, 4, without(a, 4)).round(1) for a in range(4)], sep="\n")

# %% prune-figure
figure, axes = lab.figure(1, 2, height=3.0)
for ax, heads in zip(axes, (4, 8)):
    pruned = np.array([accuracy(models[heads], heads, without(a, heads))
                       for a in range(heads)])
    ax.imshow(pruned, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), number in np.ndenumerate(pruned):
        ax.text(j, i, f"{number:.2f}", ha="center", va="center", fontsize=8,
                color="white" if number > 0.6 else "black")
    ax.set(title=f"Named rightly without one of {heads}", xlabel="relation")
    ax.set_xticks(range(4), [f"t {r:+d}" for r in RELATIONS])
    ax.set_yticks(range(heads), range(1, heads + 1))
    ax.grid(False)
axes[0].set_ylabel("head pruned")
figure

# %% gate-curve
figure, axes = lab.figure(width=5.0, height=2.6)
openings = np.linspace(0, 1, 21)
for head in range(4):
    closed = without(head, 4)
    curve = [F.cross_entropy(logits_of(ids, four, 4, g + (1 - g) * closed), labels).item()
             for g in openings]
    axes.plot(openings, curve, label=f"head {head + 1}")
gates = Tensor(np.ones(4), requires_grad=True)
F.cross_entropy(logits_of(ids, four, 4, gates), labels).backward()
print("each slope at 1 is below 0.05:", bool((np.abs(gates.grad) < 0.05).all()))
print("closing one costs more than 0.5 nats:", bool(curve[0] - curve[-1] > 0.5))
axes.set(title="Flat where the training ended, steep where a head is missing",
         xlabel="gate of one head: 0 = pruned, 1 = as trained", ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% smaller
kept = np.r_[0:4, 8:16]  # head 2 is gone
small = dict(four, Wo=Tensor(four["Wo"].data[:, kept]))
for W in ("Wq", "Wk", "Wv"):
    small[W] = Tensor(four[W].data[kept])
print("W^Q", small["Wq"].shape, " W^O", small["Wo"].shape)
print(lab.agree(gate_closed=logits_of(ids, four, 4, without(1, 4)),
                three_heads=logits_of(ids, small, 3)))

# %% exercise-gates
@lab.answer("5.6")
def gate_gradient(dcontext, context):
    """dcontext (B, A, T, D), context (B, A, T, D)  ->  dg (A,)"""
    ...

# %% exercise-pruned
lab.answer("5.7", ...)

# %% progress
lab.progress(5)
