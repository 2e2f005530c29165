"""The code of notebook 4; its text is in en/04_attention.md."""

# %% setup
import numpy as np

from minibert import AdamW, Tensor, lab
from minibert import functional as F
from minibert.debug import card, draw_graph, gradcheck
from minibert.lab.drawing import BLUE, GREY, RED
from minibert.nn.module import Parameter
from minibert.ops.attention import attention, attention_backward
from minibert.ops.attention import attention_probs as library_probs
from minibert.ops.linear import matmul_backward
from minibert.ops.softmax import softmax, softmax_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(4)

# %% attention-by-hand
q = np.array([[1.0, 0.0], [0.5, 2.0]])                  # T = 2 queries of width D = 2
k = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])      # S = 3 keys
v = np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])    # S = 3 values
scores = q @ k.T / np.sqrt(2)                           # (1)  2 x 3
powers = np.exp(scores)
probs = powers / powers.sum(axis=-1, keepdims=True)     # (2)  each row sums to 1
context = probs @ v                                     # (3)  2 x 2
print(probs)
print(context)

# %% attention-library
y, saved = attention(q[None, None], k[None, None], v[None, None])   # B = A = 1
print(lab.agree(by_hand=context, library=y[0, 0]))
lab.matrices(scores=scores, probs=probs, v=v, context=context)

# %% card
card("attention")

# %% means
drawn = rng.standard_normal((200, 3))
weights, _ = softmax(3.0 * drawn)
points = weights @ v
figure, axes = lab.figure(width=4.2, height=3.2)
axes.fill(*v.T, color=BLUE, alpha=0.1)
axes.plot(*points.T, ".", color=GREY, markersize=3, label="200 random contexts")
axes.plot(*v.T, "o", color=BLUE, label="the three values")
axes.plot(*(points[:40] + v[0]).T, "x", color=RED, markersize=4, label="40 of them + v[0]")
axes.set(xlabel="first number", ylabel="second number", title="A context is a mean")
axes.legend(frameon=False, fontsize=7)
figure

# %% variance
def one_score(D, pairs=20_000):
    """Many scores q . k, of independent numbers with mean 0 and variance 1."""
    return (rng.standard_normal((pairs, D)) * rng.standard_normal((pairs, D))).sum(axis=1)


for D in (4, 16, 64):
    found = one_score(D)
    print(f"D = {D:2}: variance {found.var():5.1f}, divided {(found / D**0.5).var():.2f}")

# %% saturation
widths = np.array([1, 4, 16, 64, 256])
largest, gradient = {True: [], False: []}, {True: [], False: []}
for D in widths:
    q_, k_ = rng.standard_normal((500, 1, D)), rng.standard_normal((500, 10, D))
    for scaled in (True, False):
        p, _ = softmax((q_ @ k_.swapaxes(-1, -2))[:, 0] * (D**-0.5 if scaled else 1.0))
        dscores, = softmax_backward(rng.standard_normal(p.shape), p)
        largest[scaled].append(p.max(axis=-1).mean())
        gradient[scaled].append(np.sqrt((dscores**2).mean()))
figure, (left, right) = lab.figure(1, 2)
for axes, curves in ((left, largest), (right, gradient)):
    axes.semilogx(widths, curves[True], "o-", label="divided by sqrt(D)", base=2)
    axes.semilogx(widths, curves[False], "o-", label="not divided", base=2)
    axes.set(xlabel="width D of a head", ylim=(0, None))
left.set(title="The largest of 10 probabilities", ylabel="mean over 500 queries")
right.set(title="What comes back to a score", ylabel="root mean square of dscores")
left.legend(frameon=False, fontsize=8)
figure

# %% exercise-variance
lab.answer("4.1", ...)

# %% mask
look = np.array([[True, True, False], [True, True, True], [False, False, False]])
q3 = np.vstack([q, [1.0, 1.0]])                              # the third may look nowhere
masked = np.where(look, q3 @ k.T / np.sqrt(2), -np.inf)      # (1) with a mask
print(masked)
batch = [array[None, None] for array in (q3, k, v)]
context3, saved3 = attention(*batch, mask=look)
probs3 = saved3[3]
print(probs3[0, 0])
print(context3[0, 0])

# %% mask-gradient
dc3 = rng.standard_normal(context3.shape)
dq3, dk3, dv3 = attention_backward(dc3, *saved3)
print("dq", *dq3[0, 0])
lab.matrices(mask=look, probs=probs3[0, 0], dq=dq3[0, 0], dk=dk3[0, 0])

# %% exercise-mask
@lab.answer("4.2")
def attention_probs(q, k, mask):
    """q (T, D), k (S, D), mask (T, S), True = may look  ->  probs (T, S)"""
    ...

# %% jacobian
x = np.array([1.0, 0.0, 2.0])
p, _ = softmax(x)
jacobian = np.diag(p) - np.outer(p, p)
rows = [lab.numeric_gradient(lambda x, i=i: softmax(x)[0][i], x) for i in range(3)]
print(jacobian)
print("jacobian:", lab.agree(by_hand=jacobian, numeric=np.stack(rows)))
print("sums of its rows:", lab.agree(sums=jacobian.sum(axis=1), zero=np.zeros(3)))
lab.matrices(x=x, p=p, jacobian=jacobian)

# %% softmax-backward
dprobs = np.array([[0.3, -0.2, 0.9], [1.0, 0.5, -0.4]])
dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))  # (softmax 1')
by_jacobian = [(np.diag(p) - np.outer(p, p)) @ dp for p, dp in zip(probs, dprobs)]
numeric = lab.numeric_gradient(lambda x: (softmax(x)[0] * dprobs).sum(), scores)
library, = softmax_backward(dprobs, probs)
print(dscores)
print(lab.agree(by_hand=dscores, jacobian=by_jacobian, numeric=numeric, library=library))
lab.matrices(probs=probs, dprobs=dprobs, dscores=dscores)

# %% exercise-softmax
@lab.answer("4.3")
def my_softmax_backward(dp, p):
    """dp (..., S), p (..., S)  ->  dx (..., S)"""
    ...

# %% exercise-jacobian
lab.answer("4.4", ...)      # for example [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

# %% backward-by-hand
dcontext = np.array([[1.0, -0.5], [0.2, 0.8]])
dprobs = dcontext @ v.T                                                      # (3')
dv = probs.T @ dcontext
dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))    # (2')
dq = dscores @ k / np.sqrt(2)                                                # (1')
dk = dscores.T @ q / np.sqrt(2)
print("dq", *dq)
print("dk", *dk)
print("dv", *dv)
lab.matrices(dprobs=dprobs, dscores=dscores, dq=dq, dk=dk, dv=dv)

# %% backward-numeric
def value(q=q, k=k, v=v):
    """One number: what a loss that weighs the context with dcontext would be."""
    return (attention(q[None, None], k[None, None], v[None, None])[0] * dcontext).sum()


library = [d[0, 0] for d in attention_backward(dcontext[None, None], *saved)]
for name, by_hand, array, found in zip("qkv", (dq, dk, dv), (q, k, v), library):
    numeric = lab.numeric_gradient(lambda x, name=name: value(**{name: x}), array)
    print(f"d{name}:", lab.agree(by_hand=by_hand, numeric=numeric, library=found))

# %% parts
Q, K, V = (Tensor(x, requires_grad=True) for x in (q, k, v))
composed = F.matmul(F.softmax(F.matmul(Q, K, tb=True) * 2**-0.5), V)
composed.backward(dcontext)
print("dq:", lab.agree(by_hand=dq, graph=Q.grad))
print("dk:", lab.agree(by_hand=dk, graph=K.grad))
print("dv:", lab.agree(by_hand=dv, graph=V.grad))
dprobs_1, dv_1 = matmul_backward(dcontext, probs, v, False, False)     # notebook 1
print("dprobs:", lab.agree(here=dprobs, notebook_1=dprobs_1))
print("dv:", lab.agree(here=dv, notebook_1=dv_1))

# %% parts-graph
draw_graph(F.matmul(F.softmax(F.matmul(Q, K, tb=True) * 2**-0.5), V))

# %% whole-check
Q, K, V = (Tensor(rng.standard_normal((2, 3, n, 5)), requires_grad=True, name=name)
           for name, n in (("q", 4), ("k", 7), ("v", 7)))
look = rng.random((2, 1, 4, 7)) < 0.7
report = gradcheck(lambda: F.attention(Q, K, V, look), Q, K, V)
print("right" if report.ok else report)

# %% exercise-attention
@lab.answer("4.5")
def my_attention_backward(dcontext, q, k, v, probs):
    """dcontext (B, A, T, D)  ->  dq (B, A, T, D), dk and dv (B, A, S, D)"""
    ...

# %% learn-model
V, B, T, D = 12, 16, 8, 16                    # words, examples, positions, width
E, P, Wq, Wk, Wv, O = (Parameter(0.3 * rng.standard_normal(shape))
                       for shape in ((V, D), (T, D), (D, D), (D, D), (D, D), (V, D)))


def forward(ids):
    """Logits (B, T, V) from one attention of one head, and its probabilities."""
    x = F.embedding(E, ids) + P
    q, k, v = (F.matmul(x, w).reshape(len(ids), 1, T, D) for w in (Wq, Wk, Wv))
    context = F.attention(q, k, v).reshape(len(ids), T, D)
    return F.linear(context, O), library_probs(q.data, k.data)[:, 0]

# %% learn
def sentences():
    """Random words; a position's label is the word before it, and position 0 has none."""
    ids = rng.integers(0, V, (B, T))
    return ids, np.concatenate([np.full((B, 1), -100), ids[:, :-1]], axis=1)


maps, losses, optimizer = [], [], AdamW([E, P, Wq, Wk, Wv, O], lr=0.02)
for step in range(301):
    ids, labels = sentences()
    logits, probs_now = forward(ids)
    loss = F.cross_entropy(logits, labels)
    losses.append(loss.item())
    if step in (0, 25, 300):
        maps.append((step, probs_now.mean(axis=0)))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last; ln {V} = {np.log(V):.2f}")

# %% learn-figure
figure, axes = lab.figure(1, 3, height=2.7)
for one, (step, picture) in zip(axes, maps):
    image = one.imshow(picture, cmap="Blues", vmin=0, vmax=1)
    one.set(title=f"after {step} steps", xlabel="key: looked at")
    one.set(xticks=range(T), yticks=range(T))
    one.grid(False)
axes[0].set_ylabel("query: looking")
figure.colorbar(image, ax=axes, shrink=0.8, label="probability")
figure

# %% exercise-key-shift
lab.answer("4.6", ...)

# %% progress
lab.progress(4)
