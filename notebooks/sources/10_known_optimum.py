"""The code of notebook 10; its text is in en/10_known_optimum.md."""

# %% setup
from collections import Counter, namedtuple
from itertools import pairwise, product

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.graph import no_grad
from minibert.lab.drawing import BLUE, GREY, RED, heat
from minibert.nn.attention import SelfAttention
from minibert.nn.initializer import Initializer
from minibert.ops.linear import matmul_backward
from minibert.ops.loss import IGNORE_INDEX, cross_entropy, cross_entropy_backward
from minibert.ops.softmax import softmax
from minibert.optim import warmup_linear

np.set_printoptions(precision=4, suppress=True)

# %% words
TOPICS = [{"noun": "cow horse farmer", "verb": "graze rest", "adjective": "green muddy"},
          {"noun": "ship sailor wave", "verb": "sink drift", "adjective": "stormy blue"},
          {"noun": "song singer choir", "verb": "sound play", "adjective": "loud sweet"}]
OTHER = {"preposition": {"near": 0.5, "behind": 0.3, "below": 0.2},
         "adverb": {"today": 0.5, "slowly": 0.3, "again": 0.2},
         "stop": {".": 1.0}, "cls": {"[CLS]": 1.0}, "sep": {"[SEP]": 1.0},
         "end": {"[SEP]": 1.0}, "pad": {"[PAD]": 1.0}}
NEXT = {"determiner": {"noun": 0.6, "adjective": 0.4}, "adjective": {"noun": 1.0},
        "noun": {"verb": 0.5, "preposition": 0.5}, "preposition": {"determiner2": 1.0},
        "determiner2": {"noun2": 1.0}, "noun2": {"verb": 1.0}, "pronoun": {"verb": 1.0},
        "verb": {"stop": 0.6, "adverb": 0.4}, "adverb": {"stop": 1.0}}

# %% diagram
PLACE = {"determiner": (0, 0), "adjective": (1, 0.8), "noun": (2, 0), "verb": (5.2, 0),
         "preposition": (2.8, 0.8), "determiner2": (4.1, 0.8), "noun2": (5.2, 0.8),
         "pronoun": (3.4, -0.6), "adverb": (6.2, 0.8), "stop": (7.2, 0)}
figure, axes = lab.figure(height=2.2)
for slot, (x, y) in PLACE.items():
    axes.text(x, y, slot, ha="center", va="center", fontsize=9, color="white",
              bbox={"boxstyle": "round", "facecolor": BLUE, "edgecolor": "none"})
    for other, p in NEXT.get(slot, {}).items():
        to_x, to_y = PLACE[other]
        axes.annotate("", (to_x, to_y), (x, y), zorder=0, arrowprops={
            "arrowstyle": "->", "shrinkA": 14, "shrinkB": 16, "color": GREY})
        if p < 1:
            axes.text((x + to_x) / 2, (y + to_y) / 2, f"{p}", ha="center", va="center",
                      fontsize=8, bbox={"facecolor": "white", "edgecolor": "none"})
axes.set(xlim=(-0.6, 7.8), ylim=(-0.9, 1.1), title="A sentence is a walk to the right")
axes.axis("off")
figure

# %% follow
State = namedtuple("State", "slot sentence topic number own")   # number: 0 one, 1 many


def follow(state, follows):
    """The states after this one, with their probabilities; follows: B belongs to A."""
    slot, sentence, topic, number, own = state
    if slot == "cls":
        return {State("determiner", 0, k, n, 0): 1 / 6 for k in range(3) for n in (0, 1)}
    if slot == "sep":
        return second(topic, number, follows)
    if slot in ("stop", "end", "pad"):
        after = "pad" if slot != "stop" else ("sep", "end")[sentence]
        keeps = (topic, number) if after == "sep" else (0, 0)
        return {State(after, sentence, *keeps, 0): 1.0}
    found = {}
    for name, p in NEXT[slot].items():
        owns = (0, 1) if name == "determiner2" else (own if name == "noun2" else 0,)
        found |= {State(name, sentence, topic, number, o): p / len(owns) for o in owns}
    return found

# %% second
def second(topic, number, follows):
    """How sentence B begins: with a pronoun for the subject before, or a new subject."""
    found = Counter()
    for k, n, new in product(range(3), (0, 1), (0, 1)):     # topic, old number, new number
        p = float((k, n) == (topic, number)) if follows else 1 / 6
        found[State("pronoun", 1, k, n, 0)] += p / 4
        found[State("determiner", 1, k, new, 0)] += p / 4
    return {state: p for state, p in found.items() if p > 0}

# %% speak
def speak(state):
    """The words of a state, with their probabilities."""
    slot = state.slot.rstrip("2")
    many = state.own if state.slot.endswith("2") else state.number
    if slot == "determiner":
        return {"the": 0.5, ("this", "these")[many]: 0.5}
    if slot == "pronoun":
        return {("it", "they")[many]: 1.0}
    if slot in OTHER:
        return OTHER[slot]
    ending = {"noun": "s" * many, "verb": "s" * (1 - many), "adjective": ""}[slot]
    found = {}
    for k, words in enumerate(TOPICS):
        words = words[slot].split()
        shares = 1 / np.arange(1, len(words) + 1)           # the first is the most frequent
        for word, share in zip(words, shares / shares.sum()):
            found[word + ending] = float(share) * (0.9 if k == state.topic else 0.05)
    return found

# %% states
states = [State("cls", 0, 0, 0, 0)]
for state in states:                                        # grows while it is walked
    states += [s for s in follow(state, False) if s not in states]
PAD, CLS, SEP, MASK = range(4)
vocabulary = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
vocabulary += sorted({word for s in states for word in speak(s)} - set(vocabulary))
at = {state: i for i, state in enumerate(states)}
number_of = {word: i for i, word in enumerate(vocabulary)}
N, V, T = len(states), len(vocabulary), 21
ordinary = (np.arange(V) > MASK).astype(float)              # what may stand behind a mask
print(f"{N} states, {V} words, texts of up to {T} words")

# %% matrices
same, fresh, emit = np.zeros((N, N)), np.zeros((N, N)), np.zeros((N, V))
for state, i in at.items():
    for matrix, follows in ((same, True), (fresh, False)):
        for after, p in follow(state, follows).items():
            matrix[i, at[after]] = p
    for word, p in speak(state).items():
        emit[i, number_of[word]] = p
start, move = np.eye(N)[0], (same + fresh) / 2
language = (start, move, emit)
print("rows sum to 1:", all(np.allclose(x.sum(axis=1), 1) for x in (same, fresh, emit)))

# %% draw
sums, emit_sums = np.stack([same, fresh]).cumsum(axis=-1), emit.cumsum(axis=-1)


def pick(sums, rng):
    """One index a row, with the probabilities whose running sums these are."""
    return (rng.random((len(sums), 1)) * sums[:, -1:] > sums).sum(axis=-1)


def draw(n, rng):
    """n pairs: words (n, T), states (n, T), and whether B is a random sentence (n,)."""
    other, path = rng.integers(0, 2, n), np.zeros((n, T), int)
    for t in range(1, T):
        path[:, t] = pick(sums[other, path[:, t - 1]], rng)
    return pick(emit_sums[path.ravel()], rng).reshape(n, T), path, other


words, path, other = draw(6, np.random.default_rng(114))
for row, label in zip(words, other):
    print(("next:  ", "random:")[label], *(vocabulary[w] for w in row if w != PAD))

# %% toy
toy = (np.array([0.6, 0.4]),                                # start: 2 states
       np.array([[0.7, 0.3], [0.2, 0.8]]),                  # move
       np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]]))        # emit: 2 states x 3 words
o = np.array([[1.0, 0.0, 0.0],                              # word 0
              [1.0, 1.0, 1.0],                              # masked
              [0.0, 0.0, 1.0]])                             # word 2
e = o @ toy[2].T                                            # e[t, s]
total = 0.0
for s in product((0, 1), repeat=3):                         # all 8 paths
    path_p = toy[0][s[0]] * toy[1][s[0], s[1]] * toy[1][s[1], s[2]]
    total += path_p * e[0, s[0]] * e[1, s[1]] * e[2, s[2]]
print(f"sum over 8 paths: {total:.6f}")

# %% forward
def forward(o, start, move, emit):
    """o (B, T, V)  ->  alpha and e, both (B, T, N)."""
    e = o @ emit.T
    alpha = np.empty_like(e)
    alpha[:, 0] = start * e[:, 0]
    for t in range(1, e.shape[1]):
        alpha[:, t] = (alpha[:, t - 1] @ move) * e[:, t]
    return alpha, e


alpha, _ = forward(o[None], *toy)
print(alpha[0])
print("Z:", lab.agree(eight_paths=np.array(total), forward=alpha[0, -1].sum()))
lab.matrices(o=o, e=e, alpha=alpha[0])

# %% exercise-forward
@lab.answer("10.1")
def my_forward(o, start, move, emit):
    """o (T, V), start (N,), move (N, N), emit (N, V)  ->  alpha (T, N)"""
    ...

# %% backward
def backward(alpha, e, start, move, emit):
    """The gradients of Z: dalpha (B, T, N) and do (B, T, V)."""
    dalpha = np.ones_like(e)
    for t in reversed(range(e.shape[1] - 1)):
        dalpha[:, t] = (dalpha[:, t + 1] * e[:, t + 1]) @ move.T
    before = np.empty_like(e)                               # each state, so far
    before[:, 0], before[:, 1:] = start, alpha[:, :-1] @ move
    de = before * dalpha
    return dalpha, de @ emit


dalpha, do = backward(alpha, e[None], *toy)
numeric = lab.numeric_gradient(lambda o: forward(o[None], *toy)[0][0, -1].sum(), o)
print(do[0])
print("do:", lab.agree(by_hand=do[0], numeric=numeric))
lab.matrices(o=o, alpha=alpha[0], dalpha=dalpha[0], do=do[0])

# %% engine
O = Tensor(o, requires_grad=True, name="o")
E = F.matmul(O, Tensor(toy[2]), tb=True)
steps = [(E[0] * toy[0]).reshape(1, 2).retain_grad()]
for t in (1, 2):
    steps.append((F.matmul(steps[-1], Tensor(toy[1])) * E[t]).retain_grad())
steps[-1].sum().backward()
print("do:    ", lab.agree(by_hand=do[0], minibert=O.grad))
print("dalpha:", lab.agree(by_hand=dalpha[0], minibert=np.vstack([a.grad for a in steps])))
da, _ = matmul_backward(dalpha[0, 2:] * e[2:], alpha[0, 1:2], toy[1], False, False)
print("one step:", lab.agree(dalpha=dalpha[0, 1:2], notebook_1=da))

# %% posterior
def posterior(o, language):
    """P(word | the rest) at every position: (B, T, V)."""
    _, do = backward(*forward(o, *language), *language)
    p = o * do
    return p / p.sum(axis=-1, keepdims=True)


p = posterior(o[None], toy)[0]
print("at the mask:", p[1])
fillings = [sum(toy[0][s[0]] * toy[2][s[0], 0] * toy[1][s[0], s[1]] * toy[2][s[1], w]
                * toy[1][s[1], s[2]] * toy[2][s[2], 2] for s in product((0, 1), repeat=3))
            for w in range(3)]
print(lab.agree(by_gradient=p[1], by_enumeration=np.array(fillings) / np.sum(fillings)))
lab.matrices(do_at_the_mask=do[0, 1], posterior=p[1])

# %% exercise-posterior
lab.answer("10.2", ...)

# %% observe
def observe(words, hidden):
    """o (B, T, V): which words are possible at each position."""
    o = np.eye(V)[words]
    o[hidden] = ordinary
    return o


def read(text):
    """Ids (1, T) of a text, padded, and where its masks are."""
    ids = [number_of[word] for word in text.split()]
    ids = np.array([ids + [PAD] * (T - len(ids))])
    return ids, ids == MASK

# %% ask
def guess(text, most=4):
    """The likeliest words at each mask of a text."""
    ids, hidden = read(text)
    for p in posterior(observe(ids, hidden), language)[hidden]:
        best = np.argsort(-p, kind="stable")[:most]
        print("   ", ", ".join(f"{vocabulary[w]} {p[w]:.2f}" for w in best if p[w] > 0.005))


for text in ("[CLS] these [MASK] drift . [SEP] they sink . [SEP]",
             "[CLS] the cow near these horses [MASK] . [SEP] it rests . [SEP]",
             "[CLS] the [MASK] near these horses rests . [SEP] they sink . [SEP]",
             "[CLS] the [MASK] [MASK] . [SEP] the song plays . [SEP]"):
    print(text)
    guess(text)

# %% brute-force
def walk(state, rest):
    """Sum over every path, one by one: the probability that `rest` follows a state."""
    if not rest:
        return 1.0
    total = 0.0
    for follows in (True, False) if state.slot == "sep" else (True,):
        for after, p in follow(state, follows).items():
            weight = p * (0.5 if state.slot == "sep" else 1.0)
            for word, q in speak(after).items():
                if word in rest[0]:
                    total += weight * q * walk(after, rest[1:])
    return total


def choices(text):
    """What `walk` reads: at each place after [CLS] one word, or every word at a mask."""
    every_word = set(vocabulary[MASK + 1:])
    return [every_word if w == "[MASK]" else {w} for w in text.split()[1:]]

# %% brute-force-check
text = "[CLS] the cow [MASK] . [SEP] [MASK] rests . [SEP]"
ids, hidden = read(text)
by_gradient = posterior(observe(ids, hidden), language)[hidden]
sets = choices(text)
for k, place in enumerate(i for i, words in enumerate(sets) if len(words) > 1):
    by_walk = np.array([walk(states[0], [*sets[:place], {word}, *sets[place + 1:]])
                        for word in vocabulary])
    by_walk /= by_walk.sum()
    print(f"mask {k + 1}:", lab.agree(by_walk=by_walk, by_gradient=by_gradient[k]))
alpha_text, _ = forward(observe(ids, hidden), *language)
print("Z:", lab.agree(by_walk=walk(states[0], sets), forward=alpha_text[0, -1].sum(),
                      tolerance=1e-12))

# %% joint
def joint(o, i, j):
    """P(word at i, word at j | the rest): (V, V)."""
    clamped = np.repeat(o, V, axis=0)
    clamped[:, i] = np.eye(V) * o[0, i]                     # one row for each word at i
    _, do = backward(*forward(clamped, *language), *language)
    p = do[:, j] * o[0, j]
    return p / p.sum()


text = "[CLS] the [MASK] [MASK] . [SEP] the song plays . [SEP]"
ids, hidden = read(text)
o2 = observe(ids, hidden)
both = joint(o2, 2, 3)
each = posterior(o2, language)[0, 2:4]
print("sums of the joint:", lab.agree(joint=both.sum(axis=1), posterior=each[0]),
      lab.agree(joint=both.sum(axis=0), posterior=each[1]), sep="\n")

# %% joint-figure
def some(words):
    return [number_of[word] for word in words.split()]


nouns, verbs = some("song songs singer singers"), some("sounds sound plays play")
apart = np.outer(each[0], each[1])
figure, axes = lab.figure(1, 2, height=2.5)
for one, p, title in ((axes[0], apart, "The posteriors, multiplied"),
                      (axes[1], both, "The joint posterior")):
    one.imshow(p[np.ix_(nouns, verbs)], cmap="Blues", vmin=0, vmax=both.max())
    one.set(title=title, xticks=range(4), yticks=range(4), xlabel="second mask")
    one.set_xticklabels([vocabulary[w] for w in verbs])
    one.set_yticklabels([vocabulary[w] for w in nouns])
    one.grid(False)
axes[0].set_ylabel("first mask")
figure

# %% joint-by-walk
after = choices("[CLS] . [SEP] the song plays . [SEP]")
by_walk = [[walk(states[0], [{"the"}, {vocabulary[a]}, {vocabulary[b]}, *after])
            for b in verbs] for a in nouns]
by_walk = np.array(by_walk) / walk(states[0], choices(text))
print(lab.agree(joint=both[np.ix_(nouns, verbs)], by_walk=by_walk))

# %% information
ratio = np.maximum(both, 1e-300) / np.maximum(apart, 1e-300)
print(f"mutual information of the two words: {(both * np.log2(ratio)).sum():.2f} bits")

# %% exercise-two-masks
lab.answer("10.3", ...)

# %% optimum
rng = np.random.default_rng(10)
test_words, test_path, test_other = draw(2000, rng)
hidden = (test_words > MASK) & (rng.random(test_words.shape) < 0.15)
test_o = observe(test_words, hidden)
optimal = posterior(test_o, language)[hidden]               # (M, V)
right, M = test_words[hidden], int(hidden.sum())


def bits(p):
    """The surprise of each right word under probabilities p (M, V)."""
    return -np.log2(p[np.arange(M), right])


best = bits(optimal)
entropy = -(optimal * np.log2(np.maximum(optimal, 1e-300))).sum(axis=-1)
print(f"surprise {best.mean():.2f} bits a masked word, entropy {entropy.mean():.2f}")

# %% interval
pair = np.nonzero(hidden)[0]                                # the pair of each masked word


def mean_and_error(x):
    """Mean over masks, and its standard error: those of one pair are not independent."""
    residuals = np.bincount(pair, x - x.mean(), minlength=len(test_words))
    return x.mean(), np.sqrt((residuals**2).sum()) / M


mean, error = mean_and_error(best - entropy)
assert abs(mean) < 3.3 * error
print(f"surprise - entropy: {mean:+.3f}, standard error {error:.3f}")

# %% kinds
path_alone, _ = forward(np.ones((1, T, V)), *language)      # nothing seen: P(state at t)
unigram = (path_alone[0] @ emit).sum(axis=0) * ordinary
unigram /= unigram.sum()
floor = bits(np.tile(unigram, (M, 1)))
kind = np.array([s.slot.rstrip("2") for s in states])[test_path[hidden]]
KINDS = ("stop", "pronoun", "determiner", "preposition", "adverb", "adjective", "verb",
         "noun")
print(f"{'':12} unigram  optimum  to be gained")
for name in KINDS:
    low, high = best[kind == name].mean(), floor[kind == name].mean()
    print(f"{name:12} {high:7.2f} {low:8.2f} {high - low:9.2f}")
print(f"{'all':12} {floor.mean():7.2f} {best.mean():8.2f} {(floor - best).mean():9.2f}")

# %% window
def above(p, optimal=optimal):
    """By how many bits p costs more than the optimum, mask by mask: KL(optimal || p)."""
    ratio = np.maximum(optimal, 1e-300) / np.maximum(p, 1e-300)
    return (optimal * np.log2(ratio)).sum(axis=-1)


rows, places = np.nonzero(hidden)
chosen = np.flatnonzero(rows < 1200)                        # the masks of 1200 of the pairs
rows_, places_ = rows[chosen], places[chosen]
distance, reach, lost = np.abs(np.arange(T) - places_[:, None]), (0, 1, 2, 3, 4, 6, 8), []
for k in reach:
    near = np.where((distance <= k)[..., None], test_o[rows_], 1.0)
    p = posterior(near, language)[np.arange(len(chosen)), places_]
    lost.append(above(p, optimal[chosen]))

# %% window-figure
COLOURS = {"stop": "#8c564b", "pronoun": "#e377c2", "determiner": "#7f7f7f",
           "preposition": "#bcbd22", "adverb": "#17becf", "adjective": "#2ca02c",
           "verb": "#d62728", "noun": "#1f77b4"}
figure, axes = lab.figure(width=6.4, height=2.8)
for name in ("noun", "adjective", "verb", "pronoun", "determiner", "adverb"):
    curve = [x[kind[chosen] == name].mean() for x in lost]
    axes.semilogy(reach, curve, "o-", color=COLOURS[name], label=name)
axes.set(xlabel="words seen on each side", ylabel="bits lost", ylim=(1e-3, 10),
         title="What is lost by looking only so far")
axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
figure

# %% next
def probability_of_next(o):
    """P(B follows A | what is seen), (B,)."""
    z_same = forward(o, start, same, emit)[0][:, -1].sum(axis=-1)
    z_fresh = forward(o, start, fresh, emit)[0][:, -1].sum(axis=-1)
    return z_same / (z_same + z_fresh)


p_next = probability_of_next(test_o)
is_next = test_other == 0
correct = (p_next > 0.5) == is_next
expected_share = np.maximum(p_next, 1 - p_next).mean()
print(f"right on the test set: {correct.mean():.2f}, expected: {expected_share:.2f}")

# %% next-figure
figure, (left, right_) = lab.figure(1, 2)
edges = np.arange(21)
for label, colour, name in ((True, BLUE, "B follows A"), (False, RED, "random B")):
    left.hist(p_next[is_next == label], edges / 20, color=colour, alpha=0.5, label=name)
left.set(title="Some pairs cannot be told apart", xlabel="P(next), exact", ylabel="pairs")
left.legend(frameon=False, fontsize=8)
inside = [(p_next >= a / 20) & (p_next < b / 20) for a, b in pairwise(edges[::2])]
inside = [those for those in inside if those.sum() > 20]
right_.plot([0, 1], [0, 1], color=GREY, linewidth=1)
right_.plot([p_next[those].mean() for those in inside],
            [is_next[those].mean() for those in inside], "o", color=BLUE)
right_.set(title="It means what it says", xlabel="P(next), exact", ylabel="share of next")
figure

# %% exercise-next
lab.answer("10.4", ...)

# %% gradient-by-hand
q = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])            # true: 2 masks, 3 words
x = np.array([[1.0, 0.0, 2.0], [0.5, 1.5, -1.0]])           # what a model says: logits
p, _ = softmax(x)
expected = np.zeros((2, 3))
for labels in product(range(3), repeat=2):                  # all 9 pairs of labels
    _, saved = cross_entropy(x, np.array(labels))
    dx, = cross_entropy_backward(np.array(1.0), *saved)     # (p - onehot) / 2
    expected += q[0, labels[0]] * q[1, labels[1]] * dx


def mean_loss(x):
    return -(q * np.log(softmax(x)[0])).sum() / 2


numeric = lab.numeric_gradient(mean_loss, x)
print("a model:", lab.agree(by_hand=(p - q) / 2, nine_labels=expected, numeric=numeric))
print("optimum:", lab.agree(numeric=lab.numeric_gradient(mean_loss, np.log(q)), zero=0 * q))
lab.matrices(q=q, p=p, expected=expected)

# %% log-softmax
from minibert.ops.softmax import log_softmax, log_softmax_backward, softmax_backward

y, saved = log_softmax(x)                                   # (1)
dy = -q / 2                                                 # of -sum(q y) / 2
dx = dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)        # (1')
library, = log_softmax_backward(dy, *saved)
notebook_4, = softmax_backward(dy / p, p)                   # ln, then softmax
print(dx)
print(lab.agree(by_hand=dx, library=library, nine_labels=expected, numeric=numeric))
print(lab.agree(by_hand=dx, notebook_4=notebook_4))
lab.matrices(dy=dy, y=y, dx=dx)

# %% exercise-log-softmax
@lab.answer("10.5")
def my_log_softmax_backward(dy, y):
    """dy (..., V), y (..., V)  ->  dx (..., V)"""
    ...

# %% exercise-mean-gradient
lab.answer("10.6", ...)

# %% zero-in-the-mean
onehot = np.eye(V)[right]


def deviations(p):
    """The sum of p - onehot over the masks, for each word, in its standard deviations."""
    variance = (p * (1 - p)).sum(axis=0)
    uncertain = variance > 1.0                              # the full stop never is
    return (p - onehot).sum(axis=0)[uncertain] / np.sqrt(variance[uncertain])


for name, p_ in {"optimum": optimal, "unigram": np.tile(unigram, (M, 1))}.items():
    z = deviations(p_)
    print(f"{name}: {len(z)} words, all within 4.5 of 0: {(np.abs(z) < 4.5).all()}")

# %% left-over
singular = some(" ".join(f"{v}s" for topic in TOPICS for v in topic["verb"].split()))
plural = some(" ".join(topic["verb"] for topic in TOPICS))
slots = np.array([s.slot for s in states])[test_path]
number = np.array([s.number for s in states])[test_path[hidden]]
heads = np.isin(slots, ("noun", "pronoun"))
last = np.maximum.accumulate(np.where(heads, np.arange(T), 0), axis=1)[rows, places]
clear = (kind == "verb") & ~hidden[rows, last]              # verbs whose subject is seen


def left_over(p):
    """Mean p - onehot of the two forms of verbs, by the number of the subject."""
    d = p - onehot
    return np.array([[d[clear & (number == n)][:, forms].sum(axis=1).mean()
                      for forms in (singular, plural)] for n in (0, 1)])

# %% left-over-figure
verb_only = np.zeros(V)
verb_only[singular + plural] = unigram[singular + plural]
verb_only /= verb_only.sum()
pictures = {"the optimum": optimal, "frequencies of verbs": np.tile(verb_only, (M, 1))}
figure, axes = lab.figure(1, 2, height=1.9)
for one, (name, p_) in zip(axes, pictures.items()):
    heat(one, left_over(p_).round(6) + 0.0, unit=1.0)
    one.set(title=f"mean p - onehot: {name}", xticks=(0, 1), yticks=(0, 1))
    one.set_xticklabels(["grazes ...", "graze ..."])
    one.set_yticklabels(["one", "many"])
axes[0].set_ylabel("subject")
figure

# %% leave
def sharpened(p, c):
    powers = np.where(p > 0, np.maximum(p, 1e-300)**c, 0.0)
    return powers / powers.sum(axis=-1, keepdims=True)


def surprise_of(q):
    """What q costs on the mean: exact for each mask, without its label."""
    return -(optimal * np.log2(np.maximum(q, 1e-300))).sum(axis=-1).mean() - entropy.mean()


powers, shares = np.linspace(0.5, 1.7, 13), np.linspace(0, 0.3, 13)
figure, (left, right_) = lab.figure(1, 2)
left.plot(powers, [surprise_of(sharpened(optimal, c)) for c in powers], "o-", color=BLUE)
left.set(title="Timid or bold", xlabel="power c in p^c", ylabel="bits above the optimum")
mixed = [surprise_of((1 - c) * optimal + c * unigram) for c in shares]
right_.plot(shares, mixed, "o-", color=RED)
right_.set(title="A little of the unigram", xlabel="share of the unigram")
figure

# %% example
def example(words, hidden, other):
    """What a BERT is given."""
    second = np.cumsum(words == SEP, axis=1) - (words == SEP) > 0
    return {"input_ids": np.where(hidden, MASK, words), "token_type_ids": 1 * second,
            "attention_mask": 1 * (words != PAD), "next_sentence_label": other,
            "labels": np.where(hidden, words, IGNORE_INDEX)}


def bert(heads=4):
    """One layer of width 32: small, and all of a BERT."""
    return BertForPreTraining(BertConfig(
        vocab_size=V, hidden_size=32, num_hidden_layers=1, num_attention_heads=heads,
        intermediate_size=64, max_position_embeddings=T, initializer_range=0.15,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        seed=1, dtype=np.float64)

# %% predict
test = example(test_words, hidden, test_other)


def predict(model):
    """p (M, V) for the masked words of the test set, and P(next) of its pairs."""
    with no_grad():
        out = model(**test)
    return (softmax(out.masked_lm_logits.data)[0],
            softmax(out.seq_relationship_logits.data)[0][:, 0])

# %% train
STEPS, LR = 1500, 0.01
LOOK_AT = (1, 10, 25, 50, 100, 200, 350, 500, 750, 1000, 1250, 1500)


def train(model, frozen=()):
    """Train on new text at every step; predictions on the test set along the way."""
    rng, found = np.random.default_rng(11), {}
    optimizer = AdamW([p for p in model.parameters() if p not in frozen], lr=LR)
    for step in range(1, STEPS + 1):
        words, _, other = draw(64, rng)
        covered = (words > MASK) & (rng.random(words.shape) < 0.15)
        optimizer.lr = warmup_linear(step, LR, 100, STEPS)
        model(**example(words, covered, other), labelled_only=True).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in LOOK_AT:
            found[step] = predict(model)
    return found

# %% run
full_model = bert()
history = train(full_model)
p_model, p_model_next = history[STEPS]
found = bits(p_model)
print(f"unigram {floor.mean():.2f}, model {found.mean():.2f}, optimum {best.mean():.2f}")
print(f"reached: {(floor - found).mean() / (floor - best).mean():.2f}")

# %% run-figure
figure, axes = lab.figure(height=3.4)
for name, colour in COLOURS.items():
    curve = [above(p)[kind == name].mean() for p, _ in history.values()]
    axes.loglog(history.keys(), curve, "o-", color=colour, markersize=3, label=name)
axes.set(title="Structure first, topics and agreement last", xlabel="step",
         ylabel="bits above the optimum", ylim=(1e-3, 10))
axes.legend(frameon=False, fontsize=8, loc="lower left")
figure

# %% scatter
figure, axes = lab.figure(2, 4, height=2.0, sharex=True, sharey=True)
for one, name in zip(axes.flat, KINDS):
    of = kind == name
    one.plot(best, found, ".", color=GREY, alpha=0.1, markersize=2)
    one.plot(best[of], found[of], ".", color=COLOURS[name], markersize=3)
    one.plot([0, 9], [0, 9], color="black", linewidth=0.7)
    one.set_title(f"{name}: {(found - best)[of].mean():+.2f} bits", fontsize=9)
    one.set(xlim=(-0.5, 9), ylim=(-0.5, 9))
figure.supxlabel("surprise at best, bits", fontsize=9)
figure.supylabel("the model's surprise, bits", fontsize=9)
figure

# %% nobody-beats-it
def check(p):
    """Raises where p is better than the optimum by more than chance allows."""
    excess, error = mean_and_error(bits(p) - best)
    if excess < -3 * error:
        raise AssertionError("better than the optimum: it must have seen the answers")
    return excess, error


for p, _ in history.values():
    check(p)
excess, error = check(p_model)
print(f"the model: {excess:.2f} bits above; in expectation {above(p_model).mean():.2f}")
assert abs(excess - above(p_model).mean()) < 3.3 * error
try:
    check(0.98 * optimal + 0.02 * onehot)                   # one mask in fifty leaks
except AssertionError as problem:
    print("a leak:", problem)

# %% exercise-fraction
lab.answer("10.7", ...)

# %% next-model
figure, (left, right_) = lab.figure(1, 2)
accuracy = [((p > 0.5) == is_next).mean() for _, p in history.values()]
left.semilogx(history.keys(), accuracy, "o-", color=BLUE, label="the model")
left.axhline(correct.mean(), color=RED, label="the optimum")
left.axhline(0.5, color=GREY, linestyle=":", label="guessing")
left.set(title="Next sentence", xlabel="step", ylabel="share right")
left.legend(frameon=False, fontsize=8)
right_.plot(p_next, p_model_next, ".", color=BLUE, markersize=2, alpha=0.5)
right_.plot([0, 1], [0, 1], color="black", linewidth=0.7)
right_.set(title="What both say of each pair", xlabel="P(next), exact",
           ylabel="P(next), the model")
figure

# %% next-check
print(f"the model {accuracy[-1]:.2f}, the optimum {correct.mean():.2f}")
apart = ((p_model_next > 0.5) == is_next).astype(float) - correct
assert apart.mean() < 3 * apart.std() / np.sqrt(len(apart))

# %% variants
class Alone(SelfAttention):
    """Every position looks at itself, and nowhere else."""

    def forward(self, x, mask=None, probs=None, only=None):
        itself = np.eye(x.shape[1], dtype=bool)
        itself = itself if only is None else itself[only.at][:, None]
        return super().forward(x, itself, probs, only)


one_head, no_positions, alone = bert(heads=1), bert(), bert()
positions = no_positions.bert.embeddings.position_embeddings.weight
positions.assign(np.zeros(positions.shape))                 # and never changed
alone.bert.encoder.layer[0].attention.self = Alone(
    32, 4, 0.0, Initializer(1, 0.15, np.float64))

# %% variants-run
models = {"whole": history[STEPS], "one head": train(one_head)[STEPS],
          "no positions": train(no_positions, frozen=[positions])[STEPS],
          "no attention": train(alone)[STEPS]}
for name, (p, is_next_p) in models.items():
    share = above(p).mean() / (floor - best).mean()
    print(f"{name:12}  {1 - share:.2f} of the achievable bits, "
          f"next sentence {((is_next_p > 0.5) == is_next).mean():.2f}")

# %% variants-figure
figure, axes = lab.figure(height=3.0)
for i, (name, (p, _)) in enumerate(models.items()):
    shares = [1 - above(p)[kind == k].mean() / (floor - best)[kind == k].mean()
              for k in KINDS]
    axes.bar(np.arange(len(KINDS)) + 0.2 * i - 0.3, shares, 0.19, label=name)
axes.set(xticks=range(len(KINDS)), yticks=np.linspace(0, 1, 6), ylim=(0, 1.2),
         title="What each part is for", ylabel="fraction reached")
axes.set_xticklabels(KINDS, fontsize=8)
axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center")
figure

# %% alone
side = np.array([s.sentence for s in states])
placed = np.stack([(path_alone[0] * (side == g)) @ emit * ordinary for g in (0, 1)], axis=1)
where_ = np.nonzero(hidden)[1], test["token_type_ids"][hidden]
of_place = placed[where_] / placed[where_].sum(axis=-1, keepdims=True)
p_alone = models["no attention"][0]
print(f"no attention: {bits(p_alone).mean():.2f} bits; "
      f"the best that position and segment allow: {bits(of_place).mean():.2f}")

# %% attraction
own = np.array([s.own for s in states])[test_path]
between = (slots[rows, places - 1] == "noun2") & (own[rows, places - 1] != number)
misled = clear & between                                    # a noun of the other number
forms = np.array([singular, plural])[number[misled]]        # the right forms


def right_number(p):
    """The share of the verbs' probability that is on the forms of the right number."""
    good = np.take_along_axis(p[misled], forms, axis=1).sum(axis=1)
    return (good / p[misled][:, singular + plural].sum(axis=1)).mean()


for name, (p, _) in {"the optimum": (optimal, None), **models}.items():
    print(f"{name:13} {right_number(p):.2f}")

# %% progress
lab.progress(10)
