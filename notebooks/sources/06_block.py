"""The code of notebook 6; its text is in en/06_block.md."""

# %% setup
import math

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.debug import card, draw_graph
from minibert.lab.drawing import BLUE, GREEN, GREY, RED
from minibert.ops import activation as act
from minibert.ops.add_norm import add_norm, add_norm_backward
from minibert.ops.linear import linear, linear_backward, matmul_backward
from minibert.ops.normalization import layer_norm, layer_norm_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(6)

# %% model
H, V, T = 32, 20, 8                            # width, words, positions
BASE = 0.02 * np.sqrt(768 / H)                 # at width 32 what 0.02 is at BERT-base's 768


def bert(layers, norm="post", seed=6):
    """A BERT at its random start, in float64 and without dropout."""
    config = BertConfig(
        vocab_size=V, hidden_size=H, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=4 * H, max_position_embeddings=T, norm_position=norm,
        initializer_range=BASE)
    return BertForPreTraining(config, seed, np.float64).eval()

# %% four-steps
def block(layer, x):
    """The four steps; `layer` owns the weights."""
    first, last = layer.attention.output, layer.output
    a = first.dense(layer.attention.self(x))   # 1  look at the others
    x1 = first.LayerNorm(x + a)                # 2  add & norm
    f = last.dense(layer.intermediate(x1))     # 3  feed-forward
    return last.LayerNorm(x1 + f)              # 4  add & norm


layer = bert(1).bert.encoder.layer[0]
start = rng.standard_normal((1, T, H))
print(lab.agree(four_steps=block(layer, Tensor(start)), library=layer(Tensor(start))))

# %% influence
def influence(step):
    """How much position t of the result depends on position s of what goes in: T x T."""
    x = Tensor(np.repeat(start, T * H, axis=0), requires_grad=True)
    step(x).backward(np.eye(T * H).reshape(T * H, T, H))    # one copy of x for each number
    return np.sqrt((x.grad.reshape(T, H, T, H) ** 2).sum(axis=(1, 3)))


first, last = layer.attention.output, layer.output
steps = {"1  attention": lambda x: first.dense(layer.attention.self(x)),
         "2  add & norm": lambda x: first.LayerNorm(x + x),
         "3  feed-forward": lambda x: last.dense(layer.intermediate(x)),
         "4  add & norm": lambda x: last.LayerNorm(x + x)}
figure, axes = lab.figure(1, 4, height=2.1)
for one, (name, step) in zip(axes, steps.items()):
    one.imshow(influence(step), cmap="Blues")
    one.set(title=name, xlabel="from position", xticks=[0, T - 1], yticks=[0, T - 1])
    one.grid(False)
axes[0].set_ylabel("to position")
figure

# %% norm-by-hand
x = np.array([[1.0, 3.0, 8.0], [-0.5, 0.1, 0.2]])        # two positions of width H = 3
gamma, beta = np.array([2.0, 1.0, 0.5]), np.array([0.1, -0.2, 0.3])
xc = x - x.mean(axis=-1, keepdims=True)                              # (1)
rstd = 1 / np.sqrt((xc**2).mean(axis=-1, keepdims=True) + 1e-12)     # (2)
xhat = xc * rstd                                                     # (3)
y = gamma * xhat + beta                                              # (4)
print(xhat)
print("means:    ", lab.agree(means=xhat.mean(axis=-1), zero=np.zeros(2)))
print("variances:", lab.agree(variances=xhat.var(axis=-1), one=np.ones(2)))
library, saved = layer_norm(x, gamma, beta)
print("y:        ", lab.agree(by_hand=y, library=library))
lab.matrices(x=x, xc=xc, xhat=xhat, y=y)

# %% norm-blind
print(lab.agree(x=layer_norm(x, gamma, beta)[0], shifted=layer_norm(x + 5, gamma, beta)[0],
                stretched=layer_norm(3 * x, gamma, beta)[0]))

# %% circle
plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])    # across (1, 1, 1)
points = 1.5 * rng.standard_normal((40, 3)) + rng.standard_normal((40, 1))
normed, _ = layer_norm(points, np.ones(3), np.zeros(3))
before, after = points @ plane.T, normed @ plane.T
figure, axes = lab.figure(width=4.4, height=3.6)
for p, q in zip(before, after):
    axes.plot(*zip(p, q), color=GREY, linewidth=0.6, alpha=0.6)
axes.plot(*before.T, "o", color=GREY, markersize=3, label="x")
axes.plot(*after.T, "o", color=BLUE, markersize=4, label="xhat")
axes.set(title="Every x lands on one circle", xlabel="along (1, -1, 0)",
         ylabel="along (1, 1, -2)", aspect="equal")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-length
lab.answer("6.1", ...)

# %% norm-backward
dy = np.array([[0.5, -1.0, 0.3], [0.2, 0.7, -0.4]])
dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)              # (4')
dxhat = dy * gamma
shift = dxhat.mean(axis=-1, keepdims=True)
scale = (dxhat * xhat).mean(axis=-1, keepdims=True)
dx = rstd * (dxhat - shift - xhat * scale)                           # (3'-1')
by_hand, library = (dx, dgamma, dbeta), layer_norm_backward(dy, *saved)
given = {"x": x, "gamma": gamma, "beta": beta}
for i, name in enumerate(given):
    numeric = lab.numeric_gradient(
        lambda v, name=name: (layer_norm(**(given | {name: v}))[0] * dy).sum(), given[name])
    print(f"d{name}:", lab.agree(by_hand=by_hand[i], numeric=numeric, library=library[i]))
print(dx)
lab.matrices(dy=dy, dxhat=dxhat, dx=dx, dgamma=dgamma, dbeta=dbeta)

# %% projections
one = np.ones(3) / np.sqrt(3)                  # both of length 1
own = xhat / np.sqrt(3)
off_one = np.eye(3) - np.outer(one, one)       # what is left without the part along `one`
rows = [r * off_one @ (np.eye(3) - np.outer(u, u)) @ d for r, u, d in zip(rstd, own, dxhat)]
print(lab.agree(formula=dx, two_projections=np.array(rows)))
print("along one: ", lab.agree(parts=dx @ one, zero=np.zeros(2)))
print("along xhat:", lab.agree(parts=(dx * own).sum(axis=-1), zero=np.zeros(2)))

# %% tangent
arriving = rng.standard_normal((12, 3))
angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
around = np.sqrt(3) * np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane
left_over, *_ = layer_norm_backward(arriving, around, np.ones((12, 1)), np.ones(3))
figure, axes = lab.figure(width=4.6, height=3.9)
circle = np.linspace(0, 2 * np.pi, 200)
axes.plot(np.sqrt(3) * np.cos(circle), np.sqrt(3) * np.sin(circle), GREY, linewidth=0.7)
for arrows, colour, label in ((arriving, GREY, "dxhat"), (left_over, RED, "dx")):
    axes.quiver(*(around @ plane.T).T, *(arrows @ plane.T).T, color=colour, width=0.006,
                angles="xy", scale_units="xy", scale=1.6, label=label)
axes.set(title="dx is what is left along the circle", xlabel="along (1, -1, 0)",
         ylabel="along (1, 1, -2)", aspect="equal", xlim=(-2.9, 2.9), ylim=(-2.5, 2.5))
axes.legend(frameon=False, fontsize=8, loc="upper right")
figure

# %% jacobian
wide = rng.standard_normal((1, 8))
_, (hat, r, _) = layer_norm(wide, np.ones(8), np.zeros(8))
jacobian, *_ = layer_norm_backward(np.eye(8), np.repeat(hat, 8, axis=0), r, np.ones(8))
strengths = np.linalg.svd(jacobian, compute_uv=False) / r[0, 0]
print("in units of rstd:", strengths)
sizes = 2.0 ** np.arange(-3, 4)
lengths = [np.linalg.norm(layer_norm_backward(wide[:, ::-1], *layer_norm(
    s * wide, np.ones(8), np.zeros(8))[1])[0]) for s in sizes]
figure, (left, right) = lab.figure(1, 2)
left.bar(range(1, 9), strengths, color=BLUE)
left.set(title="Two of 8 directions get nothing", xlabel="singular value of the Jacobian",
         ylabel="in units of rstd")
right.loglog(sizes, lengths, "o-", base=2)
right.set(title="Twice the x, half the dx", xlabel="x multiplied with",
          ylabel="length of dx")
figure

# %% norm-parts
X, G, B = (Tensor(v, requires_grad=True, name=n) for n, v in given.items())
centred = X - X.mean(axis=-1, keepdims=True)
variance = (centred * centred).mean(axis=-1, keepdims=True)
composed = G * (centred / F.sqrt(variance + 1e-12)) + B
picture = draw_graph(composed)
composed.backward(dy)
for name, tensor, found in zip(given, (X, G, B), by_hand):
    print(f"d{name}:", lab.agree(two_projections=found, notebook_1=tensor.grad))
picture

# %% norm-ones
ones_in, *_ = layer_norm_backward(np.ones((2, 3)), xhat, rstd, np.ones(3))
print(lab.agree(dx_from_ones=ones_in, zero=np.zeros((2, 3))))
card("layer_norm")

# %% exercise-norm
@lab.answer("6.2")
def my_layer_norm_backward(dy, xhat, rstd, gamma):
    """dy (..., H)  ->  dx (..., H), dgamma (H,), dbeta (H,)"""
    ...

# %% feed-forward
W1 = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0], [-0.6, 0.4, 0.9], [0.7, 0.1, -0.3]])
b1, b2 = np.array([0.1, -0.2, 0.0, 0.3]), np.array([0.5, -0.1, 0.2])
W2 = np.array([[0.4, -0.7, 0.2, 0.9], [-0.3, 0.5, 0.8, -0.6], [1.0, 0.1, -0.5, 0.3]])
x1 = np.array([[0.5, -1.2, 0.8], [1.1, 0.2, -1.3]])
z = x1 @ W1.T + b1                                       # (linear 1)
h = np.maximum(z, 0.0)
f = h @ W2.T + b2                                        # (linear 1)
df = np.array([[0.3, -0.8, 0.5], [1.0, 0.4, -0.2]])
dh, dW2, db2 = df @ W2, df.T @ h, df.sum(axis=0)         # (linear 1')
dz = dh * (z > 0)
dx1, dW1, db1 = dz @ W1, dz.T @ x1, dz.sum(axis=0)       # (linear 1')
print(f)
lab.matrices(z=z, h=h, dh=dh, dz=dz)

# %% feed-forward-check
def feed(x1=x1, W1=W1, W2=W2):
    """The network from the library's pairs, with what each saved."""
    z, first = linear(x1, W1, b1)
    h, middle = act.relu(z)
    return *linear(h, W2, b2), middle, first


_, last_saved, middle, first_saved = feed()
library_dh, library_dW2, _ = linear_backward(df, *last_saved)
library_dz, = act.relu_backward(library_dh, *middle)
library_dx1, library_dW1, _ = linear_backward(library_dz, *first_saved)
for name, mine, found in (("x1", dx1, library_dx1), ("W1", dW1, library_dW1),
                          ("W2", dW2, library_dW2)):
    numeric = lab.numeric_gradient(
        lambda v, name=name: (feed(**{name: v})[0] * df).sum(), globals()[name])
    print(f"d{name}:", lab.agree(by_hand=mine, numeric=numeric, library=found))
notebook_1, _ = matmul_backward(df, h, W2.T, False, False)
print("dh:", lab.agree(here=dh, notebook_1=notebook_1))

# %% exercise-count
lab.answer("6.3", ...)

# %% gelu
cdf = (1 + np.vectorize(math.erf)(x1 / np.sqrt(2))) / 2            # (gelu 1)
y = x1 * cdf                                                       # (gelu 2)
pdf = np.exp(-(x1**2) / 2) / np.sqrt(2 * np.pi)                    # (gelu 1')
dx = dy * (cdf + x1 * pdf)                                         # (gelu 2')
library, saved = act.gelu(x1)
print(y)
print("y: ", lab.agree(by_hand=y, library=library))
print("dx:", lab.agree(by_hand=dx, library=act.gelu_backward(dy, *saved)[0],
                       numeric=lab.numeric_gradient(
                           lambda v: (act.gelu(v)[0] * dy).sum(), x1)))
lab.matrices(x=x1, cdf=cdf, y=y, dy=dy, dx=dx)

# %% curves
line = np.linspace(-4, 4, 401)
ones = np.ones_like(line)
figure, (left, right) = lab.figure(1, 2)
for name, op, backward, colour in (("ReLU", act.relu, act.relu_backward, GREY),
                                   ("GELU", act.gelu, act.gelu_backward, BLUE)):
    value, kept = op(line)
    left.plot(line, value, color=colour, label=name)
    right.plot(line, backward(ones, *kept)[0], color=colour, label=name)
left.set(title="The functions", xlabel="x", ylabel="y", xlim=(-3, 3), ylim=(-0.4, 3))
right.set(title="Their slopes", xlabel="x", ylabel="dy/dx")
left.legend(frameon=False, fontsize=8)
figure

# %% gelu-facts
slope, = act.gelu_backward(ones, *act.gelu(line)[1])
value, _ = act.gelu(line)
print(f"GELU: smallest value {value.min():.2f}, at x = {line[value.argmin()]:.2f}")
print(f"GELU: largest slope {slope.max():.2f}, at x = {line[slope.argmax()]:.2f}")
print("ReLU at 0, library:", *act.relu_backward(np.array(1.0), *act.relu(np.array(0.0))[1]))
print("ReLU at 0, numeric:", lab.numeric_gradient(lambda v: act.relu(v)[0], np.array(0.0)))

# %% gelu-tanh
root, cubic = np.sqrt(2 / np.pi), 0.044715
t = np.tanh(root * (x1 + cubic * x1**3))                           # (gelu tanh 1)
y_tanh = x1 * (1 + t) / 2                                          # (gelu tanh 2)
dt = (1 - t**2) * root * (1 + 3 * cubic * x1**2)                   # (gelu tanh 1')
dx_tanh = dy * ((1 + t) + x1 * dt) / 2                             # (gelu tanh 2')
library, saved = act.gelu_tanh(x1)
print("y: ", lab.agree(by_hand=y_tanh, library=library))
print("dx:", lab.agree(by_hand=dx_tanh, library=act.gelu_tanh_backward(dy, *saved)[0],
                       numeric=lab.numeric_gradient(
                           lambda v: (act.gelu_tanh(v)[0] * dy).sum(), x1)))

# %% gelu-difference
off = act.gelu_tanh(line)[0] - act.gelu(line)[0]
figure, axes = lab.figure(width=5.0, height=2.2)
axes.plot(line, off * 1e4)
axes.set(title="The tanh form is off by less than 0.0005", xlabel="x",
         ylabel="difference, in 1 / 10,000")
figure

# %% exercise-gelu
@lab.answer("6.4")
def my_gelu_backward(dy, x, cdf):
    """dy, x and cdf = Phi(x) (...)  ->  dx (...)"""
    ...

# %% add-norm
h = np.array([[0.5, -1.0, 2.0], [1.0, 0.3, -0.6]])       # what a sub-layer made of x
s = x + h                                                # (add norm 1)
y, saved_norm = layer_norm(s, gamma, beta)               # (add norm 2)
ds, dgamma, dbeta = layer_norm_backward(dy, *saved_norm)  # (add norm 2')
dh, dx = ds, ds                                          # (add norm 1')
library, saved = add_norm(h, x, gamma, beta)
library_dh, library_dx = add_norm_backward(dy, *saved)[:2]
print("y: ", lab.agree(by_hand=y, library=library))
for name, mine, found, f in (
        ("h", dh, library_dh, lambda v: (add_norm(v, x, gamma, beta)[0] * dy).sum()),
        ("x", dx, library_dx, lambda v: (add_norm(h, v, gamma, beta)[0] * dy).sum())):
    numeric = lab.numeric_gradient(f, {"h": h, "x": x}[name])
    print(f"d{name}:", lab.agree(by_hand=mine, numeric=numeric, library=found))
lab.matrices(x=x, h=h, s=s, dy=dy, ds=ds)

# %% fork
M = np.array([[0.2, -0.4, 0.1], [0.5, 0.3, -0.2], [-0.1, 0.6, 0.4]])
y, saved = layer_norm(x + x @ M, gamma, beta)            # x goes two ways
ds, *_ = layer_norm_backward(dy, *saved)
dx = ds + ds @ M.T                                   # past the sub-layer, and through it
numeric = lab.numeric_gradient(
    lambda v: (layer_norm(v + v @ M, gamma, beta)[0] * dy).sum(), x)
X = Tensor(x, requires_grad=True)
F.add_norm(F.matmul(X, Tensor(M)), X, Tensor(gamma), Tensor(beta)).backward(dy)
print(lab.agree(by_hand=dx, numeric=numeric, library=X.grad))

# %% depth
def lengths_back(gain, residual, layers=40, width=32):
    """Length of the gradient at each layer, the last first, for f(x) = tanh(x W)."""
    draw = np.random.default_rng(60)
    xs = [Tensor(draw.standard_normal((4, width)), requires_grad=True)]
    for _ in range(layers):
        W = Tensor(gain * width**-0.5 * draw.standard_normal((width, width)))
        f = F.tanh(F.matmul(xs[-1], W))
        xs.append((xs[-1] + f if residual else f).retain_grad())
    xs[-1].backward(draw.standard_normal(xs[-1].shape))
    return np.array([np.linalg.norm(one.grad) for one in reversed(xs)])


figure, (left, right) = lab.figure(1, 2, sharey=True)
for axes, residual, title in ((left, False, "x = f(x)"), (right, True, "x = x + f(x)")):
    for gain, colour in ((0.3, BLUE), (0.7, RED), (1.0, GREEN)):
        axes.semilogy(lengths_back(gain, residual), color=colour, label=f"W of gain {gain}")
    axes.set(title=title, xlabel="layers gone back")
left.set_ylabel("length of the gradient")
right.legend(frameon=False, fontsize=8)
figure

# %% depth-numbers
for residual in (False, True):
    length = lengths_back(0.3, residual)
    print("with   " if residual else "without", "the residual, 40 layers down:",
          f"{length[-1] / length[0]:.1e} times as long")

# %% forgotten
def forgetful(layer, x):
    """Step 4 without its residual, as in the article."""
    first, last = layer.attention.output, layer.output
    x1 = first.LayerNorm(x + first.dense(layer.attention.self(x)))
    return last.LayerNorm(last.dense(layer.intermediate(x1)))


def likeness(step):
    """Cosine between each position's vector and what it began as, after each layer."""
    x, found = Tensor(start), [1.0]
    for one in bert(12).bert.encoder.layer:
        x = step(one, x)
        lengths = np.linalg.norm(x.data, axis=-1) * np.linalg.norm(start, axis=-1)
        found.append(((x.data * start).sum(axis=-1) / lengths).mean())
    return found


print(f"after a layer: {likeness(block)[1]:.2f} with, {likeness(forgetful)[1]:.2f} without")

# %% directions
def directions(step, t=3):
    """Singular values of d(position t at the end) / d(position t at the start)."""
    x = y = Tensor(np.repeat(start, H, axis=0), requires_grad=True)
    for one in bert(12).bert.encoder.layer:
        y = step(one, y)
    dy = np.zeros((H, T, H))
    dy[np.arange(H), t, np.arange(H)] = 1.0
    y.backward(dy)
    return np.linalg.svd(x.grad[:, t], compute_uv=False)[:H - 2]


# %% forgotten-figure
figure, (left, right) = lab.figure(1, 2)
for step, colour, label in ((block, BLUE, "with both residuals"),
                            (forgetful, RED, "second one forgotten")):
    left.plot(likeness(step), "o-", color=colour, markersize=3, label=label)
    right.semilogy(strengths := directions(step), color=colour, label=label)
    print(f"{label}: the weakest direction comes back {strengths[-1] / strengths[0]:.0e}"
          " times as strong as the strongest")
left.set(title="How much of itself is left", xlabel="layers",
         ylabel="cosine with the start")
right.set(title="What comes back through 12 layers", xlabel="direction, sorted",
          ylabel="singular value")
left.legend(frameon=False, fontsize=8)
figure

# %% exercise-block
@lab.answer("6.5")
def my_block(x, attend, feed, norm1, norm2):
    """x (B, T, H), and four functions of such an array  ->  (B, T, H), in BERT's order"""
    ...

# %% pre-by-hand
def inner(x):
    return np.tanh(x @ M)


def inner_backward(df, f):
    return (df * (1 - f**2)) @ M.T


one, zero = np.ones(3), np.zeros(3)
f = inner(x)                                             # post-norm: LN(x + f(x))
ds, *_ = layer_norm_backward(dy, *layer_norm(x + f, one, zero)[1])
post = ds + inner_backward(ds, f)
normed, saved = layer_norm(x, one, zero)                 # pre-norm: x + f(LN(x))
f = inner(normed)
pre = dy + layer_norm_backward(inner_backward(dy, f), *saved)[0]
forward = {"post": lambda v: layer_norm(v + inner(v), one, zero)[0],
           "pre": lambda v: v + inner(layer_norm(v, one, zero)[0])}
for name, dx in (("post", post), ("pre", pre)):
    numeric = lab.numeric_gradient(lambda v, name=name: (forward[name](v) * dy).sum(), x)
    print(f"{name}:", lab.agree(by_hand=dx, numeric=numeric))

# %% pre-library
X, X2 = Tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
ONE, ZERO, WM = Tensor(one), Tensor(zero), Tensor(M)
F.layer_norm(X + F.tanh(F.matmul(X, WM)), ONE, ZERO).backward(dy)
(X2 + F.tanh(F.matmul(F.layer_norm(X2, ONE, ZERO), WM))).backward(dy)
print("post:", lab.agree(by_hand=post, library=X.grad))
print("pre: ", lab.agree(by_hand=pre, library=X2.grad))
lab.matrices(dy=dy, post_dx=post, pre_dx=pre)

# %% xavier
def xavier(model, seed=0):
    """Weights of variance 2 / (inputs + outputs), as in Xiong et al."""
    draw = np.random.default_rng(seed)
    for p in model.parameters():
        if p.ndim == 2:
            p.assign(np.sqrt(2 / sum(p.shape)) * draw.standard_normal(p.shape))
    return model


figure, axes = lab.figure(width=5.0, height=2.2)
ids = rng.integers(1, V, (16, T))
for norm, colour in (("post", RED), ("pre", BLUE)):
    states = xavier(bert(12, norm))(ids, output_hidden_states=True).hidden_states[:12]
    axes.plot([np.sqrt((x.data**2).mean()) for x in states], "o-", color=colour,
              markersize=3, label=f"{norm}-norm")
axes.set(title="Without a norm on its way, x grows", xlabel="layers", ylim=(0, None),
         ylabel="root mean square of x")
axes.legend(frameon=False, fontsize=8)
figure

# %% by-layer
def by_layer(layers, norm, seeds=range(4)):
    """Length of the gradient of each layer's last weight, the mean over random starts."""
    found = []
    for seed in seeds:
        model = xavier(bert(layers, norm), seed)
        x = model.bert(ids).last_hidden_state
        dx = np.random.default_rng(seed).standard_normal(x.shape)
        x.backward(dx / np.linalg.norm(dx))                  # of length 1 at the top
        found.append([np.linalg.norm(one.output.dense.weight.grad)
                      for one in model.bert.encoder.layer])
    return np.mean(found, axis=0)


depths = (2, 4, 6, 8, 10, 12)
found = {norm: [by_layer(n, norm) for n in depths] for norm in ("post", "pre")}
for norm, curves in found.items():
    print(f"{norm}-norm, last layer at depths 2 to 12:",
          np.array([curve[-1] for curve in curves]).round(1))

# %% by-layer-figure
figure, (left, right) = lab.figure(1, 2)
for norm, colour in (("post", RED), ("pre", BLUE)):
    for n, curve in zip(depths, found[norm]):
        left.plot(range(1, n + 1), curve, color=colour, alpha=0.25 + n / 16,
                  label=f"{norm}-norm" if n == 12 else None)
    right.loglog(depths, [curve[-1] for curve in found[norm]], "o-", color=colour)
first_of = found["pre"][0][-1]
right.loglog(depths, first_of * np.sqrt(2 / np.array(depths)), "--", color=GREY,
             label="one over the root of the depth")
left.set(title="By layer, for depths 2 to 12", xlabel="layer", ylabel="length of dW",
         ylim=(0, None))
right.set(title="In the last layer", xlabel="depth of the model", ylabel="length of dW",
          xticks=depths, xticklabels=depths, yticks=[1, 2, 4], yticklabels=[1, 2, 4])
right.minorticks_off()
left.legend(frameon=False, fontsize=8)
right.legend(frameon=False, fontsize=8)
figure

# %% race
def train(norm, warm_up, steps=140, lr=0.005):
    """Losses of four layers that learn to name the word before."""
    draw, model = np.random.default_rng(66), xavier(bert(4, norm))
    optimizer, losses = AdamW(model.parameters(), lr=lr), []
    for step in range(steps):
        ids = draw.integers(1, V, (16, T))
        labels = np.concatenate([np.full((16, 1), -100), ids[:, :-1]], axis=1)
        loss = model(ids, labels=labels).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.lr = lr * min(1.0, (step + 1) / warm_up)
        optimizer.step()
        optimizer.zero_grad()
    return losses

# %% race-figure
figure, axes = lab.figure(width=5.6)
for norm, warm_up, colour in (("post", 1, RED), ("post", 60, GREEN), ("pre", 1, BLUE)):
    losses = train(norm, warm_up)
    words = f"{norm}-norm, " + (f"warm-up of {warm_up}" if warm_up > 1 else "no warm-up")
    axes.plot(losses, color=colour, label=words)
    print(f"{words}: loss {np.mean(losses[-10:]):.1f} at last, chance {np.log(V - 1):.1f}")
axes.axhline(np.log(V - 1), color=GREY, linewidth=0.8, linestyle="--")
axes.text(139, np.log(V - 1) + 0.1, "chance", ha="right", fontsize=8, color=GREY)
axes.set(title="Post-norm needs a warm-up", xlabel="step", ylabel="loss, nats",
         ylim=(0, None))
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-depth
lab.answer("6.6", ...)

# %% progress
lab.progress(6)
