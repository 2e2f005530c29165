"""The code of notebook 2; its text is in en/02_word_embeddings.md."""

# %% setup
import re
from collections import Counter

import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.debug import card, why
from minibert.lab.drawing import BLUE, GREEN, GREY, RED, heat
from minibert.nn.module import Parameter
from minibert.ops.embedding import embedding, embedding_backward
from minibert.ops.linear import linear, linear_backward, matmul_backward
from minibert.text.python_docs import python_documents
from minibert.train.count_start import company_counts, word_vectors

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(2)

# %% picture
def tables(pictures, rows, height=1.9):
    """Matrices side by side, with a word beside each row."""
    figure, every = lab.figure(1, len(pictures), height, width=2.4 * len(pictures))
    for axes, (title, x), labels in zip(every, pictures.items(), rows):
        heat(axes, x)
        axes.set_ylim(max(map(len, rows)) - 0.5, -0.5)  # cells of one size
        axes.set_yticks(range(len(labels)), labels)
        axes.set_title(title, fontsize=9)
        axes.spines[:].set_visible(False)
    return figure

# %% lookup
words = ["the", "cat", "dog", "sleeps", "river"]
E = np.array([[0.3, -0.2, 0.1], [1.0, 0.4, -0.6], [0.9, 0.6, -0.5], [-0.7, 0.8, 0.2],
              [-0.1, -0.9, 1.1]])                       # V = 5 rows of width H = 3
ids = np.array([[0, 1, 3], [0, 2, 3]])                  # the cat sleeps; the dog sleeps
x, saved = embedding(E, ids)                            # (1)
print(ids.shape, "->", x.shape)
print(lab.agree(library=x[1, 2], by_hand=E[3]))
spoken = [words[i] for i in ids.reshape(-1)]
tables({"the table E": E, "the text, x": x.reshape(6, 3)}, [words, spoken])

# %% one-hot
O = np.zeros((6, 5))
O[np.arange(6), ids.reshape(-1)] = 1                    # a single 1 in each row
product = O @ E
print(lab.agree(product=product, lookup=x.reshape(6, 3)))
print(f"ones in O for 4,096 tokens of BERT-base: 4,096 of {4096 * 30522:,}")
lab.matrices(O=O, E=E, product=product)

# %% exercise-one-hot
@lab.answer("2.1")
def one_hot_lookup(E, ids):
    """E (V, H), ids (N,)  ->  one_hot (N, V), x (N, H)"""
    ...

# %% scatter
dx = np.array([[[0.5, -1.0, 0.2], [0.3, 0.7, -0.4], [1.0, 0.1, 0.6]],
               [[0.4, 0.2, -0.9], [-0.8, 0.5, 0.3], [-0.3, 1.2, 0.8]]])
dE = np.zeros_like(E)
for i, row in zip(ids.reshape(-1), dx.reshape(6, 3)):
    dE[i] += row                                        # (1')
library, = embedding_backward(dx, *saved)
_, notebook_1 = matmul_backward(dx.reshape(6, 3), O, E, False, False)
numeric = lab.numeric_gradient(lambda E: (embedding(E, ids)[0] * dx).sum(), E)
print(lab.agree(by_hand=dE, numeric=numeric, library=library, notebook_1=notebook_1))
tables({"what comes back to the text, dx": dx.reshape(6, 3), "and to the table, dE": dE},
       [spoken, words])

# %% card
card("embedding")

# %% exercise-by-hand
lab.answer("2.2", ...)                  # four rows of two numbers, as [[1, 2], [3, 4], ...]

# %% lost
lost = np.zeros_like(E)
lost[ids] += dx                                         # looks right, and is not
right = np.zeros_like(E)
np.add.at(right, ids, dx)                               # one addition after the other
print("wrong rows:", [words[i] for i in range(5) if not np.allclose(lost[i], right[i])])
print(lab.agree(add_at=right, by_hand=dE))
tables({"np.add.at": right, "dE[ids] += dx": lost, "what was lost": right - lost},
       [words] * 3)

# %% zipf
V = 30522
frequency = 1 / np.arange(1, V + 1)                     # Zipf: the n-th word has 1/n
sizes = 2 ** np.arange(4, 15)
text = rng.choice(V, sizes[-1], p=frequency / frequency.sum())
shares = [1 - len(np.unique(text[:size])) / size for size in sizes]
print(f"overwritten in a batch of 4,096 tokens: {shares[8]:.0%}")
figure, axes = lab.figure(width=5.0, height=2.4)
axes.semilogx(sizes, shares, "o-", base=2)
axes.set(xlabel="tokens in a batch", ylabel="share of dx that is lost", ylim=(0, 1),
         title="The larger the batch, the more is lost")
figure

# %% exercise-embedding
@lab.answer("2.3")
def my_embedding_backward(dy, ids, table_shape):
    """dy (..., H), ids (...), table_shape = (V, H)  ->  dtable (V, H)"""
    ...

# %% tied-by-hand
n = ids.reshape(-1)
h = np.tanh(E[n])                                       # a network of one line, (6, 3)
z = h @ E.T                                             # (linear 1), a score a word, (6, 5)
dz = rng.standard_normal((6, 5))
from_output = dz.T @ h                                  # (linear 1')
dx = (dz @ E) * (1 - h**2)                              # (linear 1'), and the tanh
from_input, = embedding_backward(dx, n, E.shape)        # (1')
dE = from_input + from_output
numeric = lab.numeric_gradient(lambda E: (np.tanh(E[n]) @ E.T * dz).sum(), E)
print(lab.agree(by_hand=dE, numeric=numeric))
tables({"as input": from_input, "as output layer": from_output, "together": dE},
       [words] * 3)

# %% tied-library
_, saved = linear(h, E)
library_dh, library_dE, _ = linear_backward(dz, *saved)
print("output layer:", lab.agree(by_hand=from_output, library=library_dE))
table = Tensor(E, requires_grad=True)                   # one tensor, used twice
F.linear(F.tanh(F.embedding(table, n)), table).backward(dz)
print("both:", lab.agree(by_hand=dE, graph=table.grad))

# %% tied-bert
def small_bert(tied):
    """The gradient of the word table of a small BERT, from two sentences with two masks."""
    model = BertForPreTraining(BertConfig(
        vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=24, max_position_embeddings=8, tie_word_embeddings=tied),
        seed=1, dtype=np.float64).eval()
    text = np.array([[2, 17, 4, 9, 17, 3], [2, 8, 17, 4, 30, 3]])         # 4 is [MASK]
    labels = np.full(text.shape, -100)
    labels[0, 2], labels[1, 3] = 21, 17
    loss = model(text, labels=labels).loss
    loss.backward()
    return model.bert.embeddings.word_embeddings.weight, loss, len(np.unique(text))


for tied in (False, True):
    weight, loss, distinct = small_bert(tied)
    reached = (np.abs(weight.grad).max(axis=1) > 0).sum()
    print(f"tied {tied!s:5}  {distinct} words in the batch, {reached} rows with a gradient")

# %% tied-figure
weight, loss, _ = small_bert(tied=True)
why(weight[17, 5], loss).by("use")

# %% exercise-rows
lab.answer("2.4", ...)                                  # two numbers, as [1, 2]

# %% exercise-tied
@lab.answer("2.5")
def tied_gradient(dx, ids, dz, h):
    """dx (N, H), ids (N,), dz (N, V), h (N, H)  ->  dE (V, H)"""
    ...

# %% rare
def adamw_by_hand(w, gradients, lr, decay, b1=0.9, b2=0.999, eps=1e-6):
    """Where one weight is after each step."""
    m = s = 0.0
    path = [w]
    for t, g in enumerate(gradients, 1):
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
        w = (1 - lr * decay) * w - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
        path.append(w)
    return np.array(path)


steps = 60
once = np.eye(steps)[0]                                 # a gradient of 1 in the first step
gradients = {"in every batch": np.ones(steps), "in the first batch only": once,
             "in no batch": 0 * once}
by_hand = {name: adamw_by_hand(1.0, g, 0.01, 0.3) for name, g in gradients.items()}

# %% rare-library
weight = Parameter(np.ones((3, 1)))
optimizer = AdamW([weight], lr=0.01, weight_decay=0.3)
library = [weight.data.copy()]
for step in range(steps):
    weight.grad = np.array([[g[step]] for g in gradients.values()])
    optimizer.step()
    library.append(weight.data.copy())
for i, (name, path) in enumerate(by_hand.items()):
    print(f"{name:24}", lab.agree(by_hand=path, library=np.array(library)[:, i, 0]))

# %% rare-figure
figure, (left, right) = lab.figure(1, 2)
for (name, g), colour in zip(gradients.items(), (BLUE, RED, GREY)):
    left.plot(1 - 0.01 * np.cumsum(np.insert(g, 0, 0)), color=colour, label=name)
    right.plot(by_hand[name], color=colour)
left.set(title="SGD: no gradient, no step", ylabel="weight", xlabel="step",
         ylim=(0.3, 1.03))
right.set(title="AdamW: every row moves", xlabel="step", ylim=(0.3, 1.03))
left.legend(frameon=False, fontsize=8)
figure

# %% rare-momentum
moved = 1 - adamw_by_hand(1.0, once, lr=0.01, decay=0.0)
for step in (1, 2, 3, 10, 60):
    print(f"after {step:2} steps it has moved {moved[step] / 0.01:.2f} learning rates")

# %% exercise-momentum
lab.answer("2.6", ...)

# %% segment
S = np.array([[0.2, 0.1, -0.3], [-0.4, 0.5, 0.0]])      # two rows: segment A, segment B
segments = np.array([[0, 0, 1], [0, 1, 1]])
of_segments, saved = embedding(S, segments)             # (1), with another table
x = E[ids] + of_segments
dx = rng.standard_normal(x.shape)                       # a sum hands dx to each summand
dS = np.stack([dx[segments == 0].sum(axis=0), dx[segments == 1].sum(axis=0)])     # (1')
library, = embedding_backward(dx, *saved)
numeric = lab.numeric_gradient(lambda S: ((E[ids] + S[segments]) * dx).sum(), S)
print(lab.agree(by_hand=dS, numeric=numeric, library=library))
tables({"dx": dx.reshape(6, 3), "dS": dS},
       [["AB"[i] for i in segments.reshape(-1)], ["A", "B"]], height=1.7)

# %% segment-wrong
V, H = 12, 8
text = rng.integers(4, V, (4, 10))                      # no [PAD] (0), no [UNK] (1)
halves = np.repeat([[0, 1]], 5, axis=1).repeat(4, axis=0)
labels = rng.integers(4, V, (4, 10))


def word_gradient(own_table):
    """|dE| of each word, of a model that reads its two segments from S or from E."""
    r = np.random.default_rng(3)
    E, S, out = (Parameter(r.standard_normal(shape)) for shape in ((V, H), (2, H), (V, H)))
    x = F.embedding(E, text) + F.embedding(S if own_table else E, halves)
    F.cross_entropy(F.linear(F.tanh(x), out), labels).backward()
    return np.sqrt((E.grad**2).sum(axis=1))

# %% segment-figure
names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"word {i}" for i in range(4, V))]
figure, axes = lab.figure(height=2.3)
for own, colour, shift in ((True, BLUE, -0.2), (False, RED, 0.2)):
    label = "segments have their own table" if own else "segments are rows 0 and 1 of E"
    axes.bar(np.arange(V) + shift, word_gradient(own), 0.38, color=colour, label=label)
axes.set_xticks(range(V), names, rotation=35, ha="right")
axes.set(title="[PAD] and [UNK] are not in this text, and are trained all the same",
         ylabel="length of the row of dE")
axes.legend(frameon=False, fontsize=8)
figure

# %% count
sentences = np.array([[1, 2, 3], [0, 2, 3]])            # two sentences of three words
C = np.zeros((4, 4))
for sentence in sentences:
    for i in range(3):
        for j in range(3):
            if i != j:
                C[sentence[i], sentence[j]] += 1 / abs(i - j)
print(lab.agree(by_hand=C, library=company_counts([[s] for s in sentences], 4)))
C_a = C.sum(axis=1)
q = C_a**0.75 / (C_a**0.75).sum()
with np.errstate(divide="ignore"):
    P = np.maximum(0, np.log(C / (C_a[:, None] * q)))
lab.matrices(C=C, P=P)

# %% exercise-surprise
@lab.answer("2.7")
def more_than_by_chance(C):
    """C (V, V), how often two words stand near each other  ->  P (V, V)"""
    ...

# %% grammar
CLASSES = {
    "animal": "cat dog horse cow mouse lion goat hen duck fox bear wolf",
    "food": "bread fish cheese rice soup corn apples nuts beans eggs figs plums",
    "person": "anna ben clara david emma felix greta hugo ida jonas karl lena",
    "city": "rome oslo lima cairo paris tokyo delhi quito bern riga minsk porto",
    "colour": "red green blue black white grey brown pink orange purple golden pale"}
CLASSES = {name: members.split() for name, members in CLASSES.items()}
PATTERNS = [pattern.split() for pattern in (
    "the colour animal eats food", "person lives in city", "the animal of person is colour",
    "person buys food in city", "in city the animal sees person")]
glue = sorted({word for pattern in PATTERNS for word in pattern if word not in CLASSES})
vocabulary = ["[PAD]", "[MASK]", *glue, *(w for ws in CLASSES.values() for w in ws)]
index = {word: i for i, word in enumerate(vocabulary)}
V, FIRST = len(vocabulary), 2 + len(glue)               # the first word that has a class

# %% grammar-text
def one_sentence():
    """A random pattern, with a random word in the place of each class."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    return np.array([index[CLASSES[w][rng.integers(12)] if w in CLASSES else w]
                     for w in pattern])


corpus = [one_sentence() for _ in range(2000)]
for sentence in corpus[:3]:
    print(" ".join(vocabulary[i] for i in sentence))

# %% vectors
H = 24
C = company_counts([[sentence] for sentence in corpus], V)
counted = word_vectors(C, H, rng)
drawn = rng.standard_normal(counted.shape)              # as long, and pointing anywhere


def cosines(E):
    """Of every word with a class with every other."""
    rows = E[FIRST:] / np.linalg.norm(E[FIRST:], axis=1, keepdims=True)
    return rows @ rows.T


alike = np.repeat(np.arange(5), 12)[:, None] == np.repeat(np.arange(5), 12)
others = alike & ~np.eye(60, dtype=bool)
for name, E in (("random", drawn), ("counted", counted)):
    c = cosines(E)
    print(f"{name:8} same class {c[others].mean():5.2f}, other {c[~alike].mean():5.2f}")

# %% vectors-figure
figure, axes = lab.figure(1, 2, height=3.1)
for one, (name, E) in zip(axes, (("random vectors", drawn), ("counted vectors", counted))):
    image = one.imshow(cosines(E), cmap="RdBu_r", vmin=-1, vmax=1)
    one.set_xticks(np.arange(5) * 12 + 5.5, CLASSES, rotation=35, ha="right")
    one.set_yticks(np.arange(5) * 12 + 5.5, CLASSES)
    one.set_title(name, fontsize=10)
    one.grid(False)
figure.colorbar(image, ax=axes, shrink=0.8, label="cosine of two words")
figure

# %% start-batch
def batch(r, size=16):
    """Sentences with one word masked in each: ids, labels, where there is text."""
    ids, labels = np.zeros((size, 7), int), np.full((size, 7), -100)
    for row in range(size):
        sentence = corpus[r.integers(len(corpus))]
        place = r.choice(np.flatnonzero(sentence >= FIRST))
        ids[row, :len(sentence)] = sentence
        ids[row, place], labels[row, place] = index["[MASK]"], sentence[place]
    return ids, labels, (ids > 0).astype(int)

# %% start
def train(vectors, steps=240):
    """A BERT of one layer with this word table: its losses, and the table at last."""
    model = BertForPreTraining(BertConfig(
        vocab_size=V, hidden_size=H, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=2 * H, max_position_embeddings=8), 2, np.float64).eval()
    table = model.bert.embeddings.word_embeddings.weight
    table.assign(0.2 * vectors)
    optimizer, r, losses = AdamW(model.parameters(), lr=3e-3), np.random.default_rng(0), []
    for _ in range(steps):
        ids, labels, mask = batch(r)
        loss = model(ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return np.array(losses), table.data


runs = {"random": train(drawn), "counted": train(counted)}

# %% start-figure
figure, axes = lab.figure(height=2.8)
for (name, (losses, _)), colour in zip(runs.items(), (RED, BLUE)):
    axes.plot(losses, color=colour, alpha=0.2)
    mean = np.convolve(losses, np.ones(20) / 20, "valid")
    axes.plot(np.arange(len(mean)) + 9.5, mean, color=colour, label=f"{name} word vectors")
    print(f"{name:8}", *(f"{losses[a:a + 40].mean():.1f}" for a in range(40, 240, 40)))
axes.axhline(np.log(60), color=GREY, linestyle=":", label="knows nothing, ln 60")
axes.axhline(np.log(12), color=GREEN, linestyle=":", label="knows the class, ln 12")
axes.set(title="Counting first saves half of the steps", xlabel="step",
         ylabel="masked-word loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% start-end
for name, (_, E) in runs.items():
    c = cosines(E)
    print(f"{name:8} same class {c[others].mean():4.1f}, other {c[~alike].mean():4.1f}")
c = cosines(runs["random"][1])
figure, axes = lab.figure(width=5.4, height=2.3)
for where, colour, label in ((~alike, GREY, "other class"), (others, RED, "same class")):
    axes.hist(c[where], bins=np.linspace(-1, 1, 41), density=True, color=colour, alpha=0.6,
              label=label)
axes.set(title="From a random start, training finds the classes, too", yticks=[],
         xlabel="cosine of two words, after 240 steps", ylabel="how often")
axes.legend(frameon=False, fontsize=8)
figure

# %% real
texts = [[re.findall("[a-z]+", s.lower()) for s in document.sentences]
         for document in python_documents(include_numpy=False)]
counts = Counter(word for document in texts for s in document for word in s)
frequent = [word for word, _ in counts.most_common(1500)]
at = {word: i for i, word in enumerate(frequent)}
documents = [[np.array([at[w] for w in s if w in at], int) for s in text] for text in texts]
vectors = word_vectors(company_counts(documents, len(frequent)), 64, rng)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

# %% real-figure
asked = [word for word in ("thread", "raises", "year", "directory") if word in at]
figure, every = lab.figure(1, len(asked), height=2.1)
for axes, word in zip(np.atleast_1d(every), asked):
    cosine = vectors @ vectors[at[word]]
    nearest = np.argsort(-cosine)[1:7]
    axes.barh(range(6), cosine[nearest], color=BLUE)
    axes.set_yticks(range(6), [frequent[i] for i in nearest])
    axes.invert_yaxis()
    axes.set(title=f"near {word!r}", xlabel="cosine", xlim=(0, 1))
figure

# %% progress
lab.progress(2)
