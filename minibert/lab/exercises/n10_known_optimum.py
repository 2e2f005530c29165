"""Exercises of notebook 10: a corpus whose optimum is known."""

import numpy as np

from minibert import functional as F
from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Function, Value
from minibert.lab.toys import Toy
from minibert.nn.module import Parameter
from minibert.tensor import Tensor


def forward(o: Array, start: Array, move: Array, emit: Array, *, turned: bool = False, late: bool = False,
            blind: bool = False) -> Array:
    """The right answer to 10.1; turned, late and blind: three ways to get it wrong."""
    e = o @ emit.T
    alpha = np.zeros_like(e)
    alpha[0] = start if late else start * e[0]
    for t in range(1, len(e)):
        alpha[t] = alpha[t - 1] @ (move.T if turned else move)
        if not blind:
            alpha[t] *= e[t - 1] if late else e[t]
    return alpha


def _normalised(o: Array, start: Array, move: Array, emit: Array) -> Array:
    alpha = forward(o, start, move, emit)
    return alpha / alpha.sum(axis=-1, keepdims=True)


def _largest(o: Array, start: Array, move: Array, emit: Array) -> Array:
    """The best path instead of all of them."""
    e = o @ emit.T
    alpha = np.zeros_like(e)
    alpha[0] = start * e[0]
    for t in range(1, len(e)):
        alpha[t] = (alpha[t - 1][:, None] * move).max(axis=0) * e[t]
    return alpha


def _never_masked(o: Array, start: Array, move: Array, emit: Array) -> Array:
    """A mask as a word that no state can say."""
    return forward(o * (o.sum(axis=-1, keepdims=True) == 1), start, move, emit)


def _first_word(o: Array, start: Array, move: Array, emit: Array) -> Array:
    """A row of ones read as word 0."""
    return forward(np.eye(o.shape[-1])[o.argmax(axis=-1)], start, move, emit)


def _added(o: Array, start: Array, move: Array, emit: Array) -> Array:
    e = o @ emit.T
    alpha = start * e[:1]
    for row in e[1:]:
        alpha = np.vstack([alpha, alpha[-1] @ move + row])
    return alpha


def _chains(rng: np.random.Generator) -> list[tuple[Array, ...]]:
    """Random languages, and texts with a mask in each."""
    found = []
    for T, N, V in ((4, 3, 5), (6, 2, 4)):
        o = np.eye(V)[rng.integers(0, V, T)]
        o[T // 2] = 1.0
        found.append((o, rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(N), N), rng.dirichlet(np.ones(V), N)))
    return found


def soft_labels() -> Toy:
    """A network of one hidden layer that learns given probabilities instead of single words."""
    rng = np.random.default_rng(12)
    x = Tensor(rng.standard_normal((24, 3)))
    powers = np.exp(1.5 * rng.standard_normal((24, 5)))
    wanted = powers / powers.sum(axis=-1, keepdims=True)
    w1, b1, w2 = (Parameter(0.5 * rng.standard_normal(shape)) for shape in ((3, 16), (16,), (16, 5)))

    def loss() -> Tensor:
        log_probs = F.log_softmax(F.matmul(F.tanh(F.matmul(x, w1) + b1), w2))
        return (log_probs * Tensor(-wanted)).sum() * (1.0 / 24)
    return Toy("a network that learns probabilities", (w1, b1, w2), loss)


def _sum(dy: Array) -> Array:
    total: Array = dy.sum(axis=-1, keepdims=True)
    return total


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="10.1", title="The forward recursion", right=forward, cases=_chains, outputs=("alpha",),
        mistakes={"move is turned round: move[r, s] goes from r to s, so alpha stands in front of it":
                      lambda o, start, move, emit: forward(o, start, move, emit, turned=True),
                  "alpha[t] must take in the word at t itself; here every word comes one step late":
                      lambda o, start, move, emit: forward(o, start, move, emit, late=True),
                  "the words are used at position 0 alone; each step multiplies with its own e[t]":
                      lambda o, start, move, emit: forward(o, start, move, emit, blind=True),
                  "alpha is the probability of the state and all words so far: it is not normalised": _normalised,
                  "that follows the best path; a probability is the sum over all paths": _largest,
                  "a mask made everything 0: behind it any word is possible, so its e is a sum over words":
                      _never_masked,
                  "a mask was read as word 0, the first of its ones: all of its words are possible": _first_word,
                  "start is missing: alpha[0] = start * e[0]":
                      lambda o, start, move, emit: forward(o, np.ones_like(start), move, emit),
                  "e[t] must be multiplied with the rest, and it is added: both must happen": _added},
        hints=("First e = o @ emit.T, shape (T, N): how probable each state makes what is seen at each position.",
               "alpha[0] = start * e[0]. Then each position from the one before.",
               "To come to state s from anywhere: the sum over r of alpha[t - 1][r] * move[r, s], a product with move.",
               "alpha[t] = (alpha[t - 1] @ move) * e[t], in a loop over t from 1 to len(o) - 1.")),
    Value(
        number="10.2", title="A posterior by hand", right=0.4,
        mistakes={"that is the probability before the first word was seen, with both topics alike": 0.3,
                  "that takes the likelier topic for certain; the other one has still a quarter": 0.5,
                  "that is the joint probability of both words; divide it by that of the first": 0.08,
                  "the topics are exchanged": 0.2},
        hints=("First the topic: which share of the times that the first word is seen is it topic 1?",
               "0.3 against 0.1, with equal odds before: topic 1 has 3/4.",
               "Then the mean of the two probabilities with these weights: 3/4 * 0.5 + 1/4 * 0.1.")),
    Value(
        number="10.3", title="Two masks at once", right=2.0,
        mistakes={"that is what both together cost a model that names pairs; this loss asks for each alone": 1.0,
                  "that is the cost of one mask in nats, and there are two of them, in bits": 0.6931,
                  "there are two masks with two equally likely words each, so one bit for each": 4.0},
        hints=("The loss adds up a surprise for each mask; each is scored alone, given what is not masked.",
               "Alone, each mask has two words that are equally likely: what is the surprise, in bits?",
               "One bit for each of two masks, although the second follows from the first.")),
    Value(
        number="10.4", title="How often can one be right?", right=0.9,
        mistakes={"that is for a judge who always recognises a random B; a fifth of them has the same topic": 1.0,
                  "that is how often a random B is recognised; half of the pairs are no random ones": 0.8,
                  "that is how often a random B has the topic of A": 0.2},
        hints=("When the topics differ, B is surely random. When they are the same, which answer is likelier?",
               "Same topic: say `next`. Then all true pairs are judged rightly, and some random ones wrongly.",
               "1/2 * 1 + 1/2 * (1 - 1/5).")),
    Backward(
        number="10.5", title="Write this backward: log-softmax", op="log_softmax", toy=soft_labels,
        cases=lambda rng: [(rng.standard_normal(shape),) for shape in ((3, 5), (2, 4, 7), (1, 3))],
        terms={"dx": {"dy": lambda dy, y: dy, "-exp(y) sum(dy)": lambda dy, y: -np.exp(y) * _sum(dy)}},
        mistakes={"y is the logarithm of the probabilities: the factor of the sum is exp(y)":
                      lambda dy, y: dy - y * _sum(dy),
                  "that is the backward of softmax; the logarithm has taken away the factor p":
                      lambda dy, y: np.exp(y) * (dy - _sum(dy * np.exp(y))),
                  "the sum runs over the wrong axis: over the classes, the last one":
                      lambda dy, y: dy - np.exp(y) * dy.sum(axis=0, keepdims=True),
                  "the sum runs over the whole array; each row has its own":
                      lambda dy, y: dy - np.exp(y) * dy.sum(),
                  "the sum is missing: every y moves with the one x, through the normaliser":
                      lambda dy, y: dy - np.exp(y) * dy},
        hints=("y_i = x_i - ln(sum(exp(x))). An x goes two ways: into its own y, and into the normaliser of all y.",
               "Through its own y comes dy. The derivative of the normaliser by x_i is p_i = exp(y_i).",
               "The normaliser is subtracted from every y of the row, so -sum(dy) comes back to it.",
               "return dy - np.exp(y) * dy.sum(axis=..., keepdims=True), with the right axis.")),
    Value(
        number="10.6", title="The mean gradient", right=[-0.25, 0.25, 0.0],
        mistakes={"the sign is turned: it is what the model says minus what is true": [0.25, -0.25, 0.0],
                  "that is the gradient for one label, the first; take the mean over all three": [-0.75, 0.5, 0.25],
                  "it would be 0 if the model said what is true, and it does not": [0.0, 0.0, 0.0]},
        hints=("For label y the gradient is p - onehot(y). Which is its mean, if y is drawn from q?",
               "The mean of onehot(y) is q itself.",
               "p - q, number by number.")),
    Value(
        number="10.7", title="The fraction reached", right=0.8,
        mistakes={"that is what is left to learn; the fraction reached is the rest": 0.2,
                  "0 bits cannot be reached: the range ends at the optimum": 0.56,
                  "that divides two losses; measure both from the unigram's": 0.6818},
        hints=("How many bits lie between knowing nothing but frequencies and knowing everything?",
               "5.0 - 1.5 = 3.5 bits can be reached.",
               "The model has gone from 5.0 to 2.2: divide that by 3.5.")))
