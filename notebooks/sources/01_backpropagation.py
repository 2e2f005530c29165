"""The code of notebook 1; its text is in en/01_backpropagation.md."""

# %% setup
import numpy as np

from minibert import Tensor, lab
from minibert import functional as F
from minibert.debug import check_op, draw_graph
from minibert.lab.drawing import BLUE, GREY, RED
from minibert.ops.activation import tanh, tanh_backward
from minibert.ops.broadcast import unbroadcast
from minibert.ops.elementwise import add, add_backward, multiply, multiply_backward
from minibert.ops.linear import matmul, matmul_backward
from minibert.ops.reduction import sum as total
from minibert.ops.reduction import sum_backward as total_backward
from minibert.ops.softmax import softmax, softmax_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(1)

# %% slope
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])


def loss_of(x):
    """One number from six: the sum of x tanh(x)."""
    return (x * np.tanh(x)).sum()


numeric = lab.numeric_gradient(loss_of, x)     # move each number by a millionth, both ways
print(numeric)
lab.matrices(x=x, dx=numeric)

# %% pair
y, saved = tanh(x)                             # the value, and what its backward needs
dy = np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0]])
dx, = tanh_backward(dy, *saved)
by_hand = dy * (1 - np.tanh(x) ** 2)
numeric = lab.numeric_gradient(lambda x: (np.tanh(x) * dy).sum(), x)
print(dx)
print(lab.agree(by_hand=by_hand, numeric=numeric, library=dx))
lab.matrices(x=x, y=y, dy=dy, dx=dx)

# %% product
w = np.array([[2.0, 0.1, -1.0], [0.4, -0.6, 1.2]])
dz = np.array([[0.3, -1.0, 0.8], [1.1, 0.5, -0.2]])
dx, dw = dz * w, dz * x                        # each factor gets the other one
library = multiply_backward(dz, *multiply(x, w)[1])
print("dx:", lab.agree(by_hand=dx, library=library[0],
                       numeric=lab.numeric_gradient(lambda x: (x * w * dz).sum(), x)))
print("dw:", lab.agree(by_hand=dw, library=library[1],
                       numeric=lab.numeric_gradient(lambda w: (x * w * dz).sum(), w)))
lab.matrices(dz=dz, w=w, dx=dx)

# %% graph-value
class Value:
    """An array that remembers how it was made."""

    def __init__(self, data, inputs=(), backward=None, saved=()):
        self.data, self.inputs, self.backward, self.saved = data, inputs, backward, saved
        self.grad = None                       # not known yet, which is not the same as 0


def apply(pair, *inputs):
    """Run the forward half of a pair, and remember what the other half will need."""
    op, op_backward = pair
    y, saved = op(*(x.data for x in inputs))
    return Value(y, inputs, op_backward, saved)

# %% graph-order
def topological_order(root):
    """All that root was computed from, each after its inputs; root is the last."""
    order, seen = [], set()

    def visit(value):
        if value not in seen:
            seen.add(value)
            for x in value.inputs:
                visit(x)
            order.append(value)
    visit(root)
    return order

# %% graph-backward
def backpropagate(root, droot):
    """Gradients from the last value to the first, added up where ways meet."""
    for value in topological_order(root):
        value.grad = None
    root.grad = droot
    for value in reversed(topological_order(root)):
        if value.backward is not None:
            for x, dx in zip(value.inputs, value.backward(value.grad, *value.saved)):
                x.grad = dx if x.grad is None else x.grad + dx

# %% graph-use
ADD, MULTIPLY = (add, add_backward), (multiply, multiply_backward)
TANH, SUM = (tanh, tanh_backward), (total, total_backward)
MATMUL = (matmul, matmul_backward)
X = Value(x)
loss = apply(SUM, apply(MULTIPLY, X, apply(TANH, X)))
backpropagate(loss, np.array(1.0))
print(X.grad)
print(lab.agree(our_graph=X.grad, numeric=lab.numeric_gradient(loss_of, x)))

# %% graph-library
T = Tensor(x, requires_grad=True, name="x")
library_loss = (T * F.tanh(T)).sum()
library_loss.backward()
print(lab.agree(our_graph=X.grad, minibert=T.grad))
draw_graph((T * F.tanh(T)).sum())

# %% fork
a = Value(x)
b = apply(MULTIPLY, a, a)                      # a goes two ways: b = a^2
backpropagate(apply(SUM, b), np.array(1.0))
forgot = multiply_backward(np.ones_like(x), x, x)[1]  # the second way alone
print("added up:   ", a.grad[0])
print("overwritten:", forgot[0])
print(lab.agree(added_up=a.grad, by_hand=2 * x,
                numeric=lab.numeric_gradient(lambda x: (x**2).sum(), x)))
lab.matrices(x=x, added_up=a.grad, overwritten=forgot)

# %% exercise-fork
lab.answer("1.1", ...)

# %% order-wrong
def eager(value, dvalue):
    """Hand on the whole gradient as soon as some of it has come in: no order."""
    value.grad = dvalue if value.grad is None else value.grad + dvalue
    if value.backward is not None:
        for x, dx in zip(value.inputs, value.backward(value.grad, *value.saved)):
            eager(x, dx)


a = Value(np.array(1.0))
b = apply(ADD, a, a)
c = apply(ADD, b, b)                           # c = 4 a
eager(c, np.array(1.0))
print("without an order:", a.grad)
backpropagate(c, np.array(1.0))
print("in order:        ", a.grad)

# %% order-slow
def calls(depth):
    """How often a recursion that hands on only what is new visits the first value."""
    return 1 if depth == 0 else 2 * calls(depth - 1)


depths = range(1, 13)
figure, axes = lab.figure(width=5.0)
axes.semilogy(depths, [calls(n) for n in depths], "o-", color=RED, label="way by way")
axes.semilogy(depths, np.ones(12), "o-", color=BLUE, label="in topological order")
axes.set(xlabel="how many times doubled", ylabel="visits to the first value",
         title="One way more, twice the work")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-order
lab.answer("1.2", ...)

# %% broadcast
bias = np.array([0.1, -0.2, 0.3])              # (3,) is added to both rows of (2, 3)
dy = np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0]])
dbias = dy.sum(axis=0)                         # so both rows come back
dx_, library = add_backward(dy, *add(x, bias)[1])
numeric = lab.numeric_gradient(lambda bias: ((x + bias) * dy).sum(), bias)
print(dbias)
rule = unbroadcast(dy, bias.shape)
print(lab.agree(by_hand=dbias, numeric=numeric, library=library, rule=rule))
lab.matrices(dy=dy, dbias=dbias)

# %% exercise-broadcast
@lab.answer("1.3")
def my_unbroadcast(d, shape):
    """Sum d over every axis along which an array of this shape was stretched to d.shape."""
    ...

# %% matmul
A = np.array([[1.0, -2.0, 0.5], [0.3, 0.8, -1.0]])                      # 2 x 3
B = np.array([[0.2, 1.0], [-0.7, 0.4], [1.5, -0.3]])                    # 3 x 2
dY = np.array([[1.0, -0.5], [0.2, 0.8]])
dA, dB = dY @ B.T, A.T @ dY                                             # (matmul 1')
Y, saved = matmul(A, B)                                                 # (matmul 1)
library_dA, library_dB = matmul_backward(dY, *saved)
print("dA:", lab.agree(by_hand=dA, library=library_dA,
                       numeric=lab.numeric_gradient(lambda A: (A @ B * dY).sum(), A)))
print("dB:", lab.agree(by_hand=dB, library=library_dB,
                       numeric=lab.numeric_gradient(lambda B: (A @ B * dY).sum(), B)))
lab.matrices(dY=dY, B=B, dA=dA, A=A, dB=dB)

# %% exercise-matmul
@lab.answer("1.4")
def my_matmul_backward(dy, a, b):
    """dy (N, M), a (N, K), b (K, M)  ->  da (N, K), db (K, M)"""
    ...

# %% train
inputs = rng.uniform(-2, 2, (40, 1))
targets = np.sin(2 * inputs)
parameters = [Value(rng.standard_normal(shape)) for shape in ((1, 16), (16,), (16, 1))]
losses = []
for step in range(1000):
    w1, b1, w2 = parameters
    h = apply(TANH, apply(ADD, apply(MATMUL, Value(inputs), w1), b1))
    error = apply(ADD, apply(MATMUL, h, w2), Value(-targets))
    loss = apply(SUM, apply(MULTIPLY, error, error))
    backpropagate(loss, np.array(1.0 / 40))    # the mean
    losses.append(loss.data / 40)
    for p in parameters:
        p.data = p.data - 0.1 * p.grad
print(f"mean squared error {losses[0]:.2f} -> {losses[-1]:.3f}")

# %% train-figure
figure, (left, right) = lab.figure(1, 2)
left.semilogy(losses)
left.set(title="Our forty lines learn", xlabel="step", ylabel="mean squared error")
line = np.linspace(-2, 2, 100)[:, None]
right.plot(line, np.sin(2 * line), color=GREY, linewidth=4, alpha=0.35, label="sin 2x")
learnt = np.tanh(line @ w1.data + b1.data) @ w2.data
right.plot(line, learnt, color=BLUE, label="the network")
right.plot(inputs, targets, ".", color=RED, markersize=3, label="what it saw")
right.set(title="What was learnt", xlabel="x", ylabel="y")
right.legend(frameon=False, fontsize=8)
figure

# %% train-library
W1, B1, W2 = (Tensor(p.data, requires_grad=True) for p in parameters)
error = F.matmul(F.tanh(F.matmul(Tensor(inputs), W1) + B1), W2) - targets
(error * error).mean().backward()
loss_now = apply(TANH, apply(ADD, apply(MATMUL, Value(inputs), w1), b1))
error_now = apply(ADD, apply(MATMUL, loss_now, w2), Value(-targets))
backpropagate(apply(SUM, apply(MULTIPLY, error_now, error_now)), np.array(1.0 / 40))
for mine, theirs in zip(parameters, (W1, B1, W2)):
    print(theirs.shape, lab.agree(our_graph=mine.grad, minibert=theirs.grad))

# %% steps
point, steps = 0.7, 10.0 ** np.arange(-12, 0.1, 0.5)
true = np.exp(point)
figure, axes = lab.figure(width=5.6)
for dtype, colour in ((np.float64, BLUE), (np.float32, RED)):
    h = steps.astype(dtype)
    above, below = dtype(point) + h, dtype(point) - h
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (np.exp(above) - np.exp(below)) / (above - below)
    errors = np.abs(slopes - true) / true
    axes.loglog(steps, errors, "o-", color=colour, label=dtype.__name__)
axes.set(title="Central differences of exp", xlabel="step h", ylabel="relative error")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-differences
@lab.answer("1.5")
def my_gradient(f, x, h):
    """Central differences of f, which maps an array to one number: in x's shape."""
    ...

# %% checkers
bugs = {"right": softmax_backward,
        "zeros": lambda dp, p: (0 * dp,),
        "p dp": lambda dp, p: (p * dp,),
        "sum over the wrong axis": lambda dp, p: (p * (dp - (dp * p).sum(0)),)}
x2 = rng.standard_normal((3, 5))
p2, _ = softmax(x2)
upstream = {"ones": np.ones((3, 5)), "random": rng.standard_normal((3, 5))}
print(f"{'backward':26}{'shape alone':14}{'dy of ones':14}random dy")
for name, backward in bugs.items():
    dx, = backward(upstream["ones"], p2)
    verdicts = ["passes" if dx.shape == x2.shape else "fails"]
    for dy in upstream.values():
        slope = lab.numeric_gradient(lambda x, dy=dy: (softmax(x)[0] * dy).sum(), x2)
        off = np.abs(backward(dy, p2)[0] - slope).max()
        verdicts.append("passes" if off < 1e-7 else "fails")
    print(f"{name:26}" + "".join(f"{verdict:14}" for verdict in verdicts).rstrip())

# %% checker-figure
ones_gradient, = softmax_backward(upstream["ones"], p2)
random_gradient, = softmax_backward(upstream["random"], p2)
figure, (left, right) = lab.figure(1, 2, height=2.2)
pictures = {"dy of ones": ones_gradient, "random dy": random_gradient}
for axes, (name, dx) in zip((left, right), pictures.items()):
    image = axes.imshow(dx, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    axes.set(title=f"dx of a softmax, {name}", xticks=[], yticks=[])
    axes.grid(False)
figure.colorbar(image, ax=[left, right], shrink=0.8)
figure

# %% checker-library
print("right:   ", check_op("softmax", x2).ok)
print("planted: ", check_op("softmax", x2, backward=bugs["zeros"]).ok)
with lab.swapped("softmax", bugs["p dp"]):     # a wrong backward, inside this block
    t = Tensor(x2, requires_grad=True)
    F.softmax(t).backward(upstream["random"])
print("the engine is wrong then:", not np.allclose(t.grad, random_gradient, atol=0.1))

# %% exercise-ones
lab.answer("1.6", ...)                         # three numbers, as [1, 2, 3]

# %% progress
lab.progress(1)
