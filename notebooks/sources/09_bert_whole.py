"""The code of notebook 9; its text is in en/09_bert_whole.md."""

# %% setup
import numpy as np
from IPython.display import HTML

from minibert import BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.debug import attention_maps
from minibert.debug.html import html_table
from minibert.fill_mask import fill_mask
from minibert.graph import no_grad
from minibert.lab.drawing import BLUE, GREEN, GREY, RED
from minibert.ops.linear import linear, linear_backward
from minibert.ops.loss import IGNORE_INDEX, cross_entropy, cross_entropy_backward
from minibert.text import Tokenizer, deduplicate, python_documents, split_documents

np.set_printoptions(precision=4, suppress=True)


def table(rows, headers):
    """Rows and their headers, as a table."""
    return HTML(html_table(rows, headers))

# %% documents
documents = deduplicate(python_documents())
train_side, test_side = split_documents(documents, held_out=0.05, seed=0)
known, unknown = ({s for d in side for s in d.sentences}
                  for side in (train_side, test_side))
print("more than 200,000 words:", sum(d.words for d in documents) > 200_000)
print("sentences on both sides:", len(known & unknown))
table([(name, *(f"{n:,}" for n in (len(side), sum(len(d.sentences) for d in side),
                                   sum(d.words for d in side))))
       for name, side in (("to train on", train_side), ("held out", test_side))],
      ("", "documents", "sentences", "words"))

# %% pieces
V = 2000
tokenizer = Tokenizer.train((s for d in train_side for s in d.sentences), vocab_size=V)


def in_pieces(sentence):
    return " ".join(tokenizer.token(i) for i in tokenizer.ids([sentence])[0])


sample = test_side[len(test_side) // 2]
table([(s, in_pieces(s)) for s in sample.sentences[:4]], (sample.name, "in pieces"))

# %% pieces-figure
from minibert.text import PretrainingBatches, encode_documents, held_out_batches

train_ids = encode_documents(train_side, tokenizer)
test_ids = encode_documents(test_side, tokenizer)
counts = np.bincount(np.concatenate([s for d in train_ids for s in d]), minlength=V)
order = np.argsort(-counts)
figure, axes = lab.figure(width=5.8)
axes.loglog(np.arange(1, V + 1), np.maximum(counts[order], 1), color=BLUE)
axes.loglog([1, V], [counts.max(), counts.max() / V], color=GREY, linestyle="--",
            label="the n-th piece n times as rare as the first")
for n in (2, 20, 200, 1500):
    axes.annotate(tokenizer.token(order[n - 1]), (n, counts[order[n - 1]]), fontsize=8,
                  xytext=(3, 5), textcoords="offset points")
axes.set(title="A few pieces make up most of the text", xlabel="rank",
         ylabel="times in the text")
axes.legend(frameon=False, fontsize=8, loc="lower left")
figure

# %% floors
from minibert.train.evaluation import evaluate, floors

floor = floors(test_ids, V)
f = np.bincount(np.concatenate([s for d in test_ids for s in d]), minlength=V)
f = f[f > 0] / f.sum()
by_hand = [np.log(V), -(f * np.log(f)).sum(), np.log(2)]
print(lab.agree(by_hand=by_hand, library=list(floor)))
print(f"chance: ln {V} = {floor.chance:.2f}; next sentence: ln 2 = {floor.pair:.2f}")
print("unigram is below chance by more than a nat:", floor.chance - floor.unigram > 1)
names = "chance", "unigram", "next sentence"
table([(name, f"{loss:.2f}", f"{np.exp(loss):,.0f}") for name, loss in zip(names, floor)],
      ("floor", "loss, nats", "perplexity"))

# %% floors-figure
n = np.arange(1, 2001)
figure, axes = lab.figure(width=5.8, height=2.3)
axes.semilogx(n, np.log(n), color=GREY)
for loss, colour, name in zip(floor, (RED, BLUE, GREEN), names):
    axes.plot(np.exp(loss), loss, "o", color=colour, label=f"{name}: {np.exp(loss):,.0f}")
axes.set(title="A loss is a number of equally likely answers", xlabel="perplexity",
         ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-perplexity
lab.answer("9.1", ...)

# %% exercise-chance
lab.answer("9.2", ...)                                   # "yes" or "no"

# %% two-losses
h = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])       # [CLS] and one hidden word: 2 x 3
words = np.array([[1.0, 0.3, -0.5], [0.2, -1.0, 0.4], [0.0, 0.6, 0.9], [-0.7, 0.1, 0.2]])
pair = np.array([[0.4, -0.2, 0.1], [-0.3, 0.5, 0.8]])    # maps to the two answers about B


def losses(h):
    """Word 2 stood at row 1; the answer about the pair, read from row 0, is 1."""
    return (cross_entropy(h[1:] @ words.T, np.array([2])),
            cross_entropy(h[:1] @ pair.T, np.array([1])))


def total(h):
    return sum(loss for loss, _ in losses(h))


(dwords,), (dpair,) = (cross_entropy_backward(1.0, *saved) for _, saved in losses(h))
dh = np.concatenate([dpair @ pair, dwords @ words])      # each row from its own loss
# %% two-losses-library
H = Tensor(h, requires_grad=True)
masked = F.cross_entropy(F.linear(H[1:], Tensor(words)), np.array([2]))
following = F.cross_entropy(F.linear(H[:1], Tensor(pair)), np.array([1]))
(masked + following).backward()
print(lab.agree(by_hand=dh, numeric=lab.numeric_gradient(total, h), library=H.grad))
lab.matrices(h=h, dh=dh)

# %% training-pieces
from contextlib import closing

from minibert import AdamW
from minibert.optim import clip_scale, gradient_norm, warmup_linear
from minibert.train.lanes import Lanes, single_threaded_blas

# %% new-model
T, B, STEPS = 64, 16, 1400
batches = PretrainingBatches(train_ids, tokenizer, B, T, seed=0, mask_rate=0.3)
held_out = held_out_batches(test_ids, tokenizer, B, T, seed=0)


def new_model():
    """A BERT of two layers, in float32."""
    return BertForPreTraining(BertConfig(
        vocab_size=V, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=512, max_position_embeddings=T, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.03))


plain = new_model()
print("parameters:", sum(q.size for q in plain.parameters()))

# %% two-losses-figure
parts = {"word vectors": "bert.embeddings.word", "layer 0": "bert.encoder.layer.0.",
         "layer 1": "bert.encoder.layer.1.", "pooler": "bert.pooler.",
         "masked words' head": "cls.predictions.transform."}
batch, sizes = batches.batch(0), {}
inputs = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
for name, label in (("masked words", "labels"), ("next sentence", "next_sentence_label")):
    plain(**inputs, **{label: batch[label]}).loss.backward()
    sizes[name] = [gradient_norm(q for n, q in plain.named_parameters()
                                 if n.startswith(part)) for part in parts.values()]
    plain.zero_grad()
print("the pooler's gradient from the masked words:", sizes["masked words"][3])
figure, axes = lab.figure(width=6.0, height=2.3)
for shift, (name, colour) in enumerate((("masked words", BLUE), ("next sentence", RED))):
    axes.barh(np.arange(5) + 0.38 * shift, sizes[name], 0.36, color=colour, label=name)
axes.set(title="Both losses reach the encoder, each its own head", xlabel="length of dw")
axes.set_yticks(np.arange(5) + 0.19, list(parts))
axes.invert_yaxis()
axes.legend(frameon=False, fontsize=8)
figure

# %% start
from minibert.train.count_start import start_from_counts

untrained, model = new_model(), new_model()
for one in (untrained, model):
    start_from_counts(one, train_ids, seed=0)
print("the same start twice:", all((p.data == q.data).all() for p, q in
                                   zip(untrained.parameters(), model.parameters())))

# %% pretrain
def pretrain(model, steps, every):
    """Masked losses on the text trained on, and `every` so many steps on held-out text."""
    optimizer, losses, tests = AdamW(model.parameters(), betas=(0.9, 0.98)), [], []
    lanes = Lanes(model, threads=2, micro_batch=B // 2)
    with closing(lanes), single_threaded_blas():
        for step in range(steps):
            sums = lanes.gradients(batches.batch(step), step)
            optimizer.lr = warmup_linear(step + 1, 0.0025, 100, STEPS)
            optimizer.step(clip_scale(gradient_norm(optimizer.parameters), 1.0), lanes.map)
            optimizer.zero_grad()
            losses.append(sums.masked_loss)
            if step % every == every - 1:
                tests.append(evaluate(model, held_out, lanes))
    return losses, tests

# %% plain-run
_, plain_tests = pretrain(plain, 250, every=50)
away = floor.unigram - plain_tests[-1].masked_loss
print("after 250 steps within half a nat of the unigram floor:", abs(away) < 0.5)

# %% run
losses, tests = pretrain(model, STEPS, every=100)
end = tests[-1]
print("1.5 nats below the unigram floor, or more:", floor.unigram - end.masked_loss > 1.5)
print("more than a fifth of the hidden pieces guessed:", end.masked_accuracy > 0.2)
three = end.masked_loss, floor.unigram, floor.chance
table([("masked loss, nats", *(f"{loss:.2f}" for loss in three)),
       ("perplexity", *(f"{np.exp(loss):,.0f}" for loss in three)),
       ("guessed exactly", f"{end.masked_accuracy:.0%}", f"{f.max():.0%}", f"{1 / V:.2%}"),
       ("next-sentence loss", f"{end.pair_loss:.2f}", "", f"{floor.pair:.2f}"),
       ("told right", f"{end.pair_accuracy:.0%}", "", "50%")],
      ("on held-out text", "trained", "unigram", "chance"))

# %% curves
figure, (left, right) = lab.figure(1, 2, height=2.9)
at, smooth = np.arange(100, STEPS + 1, 100), np.ones(20) / 20
left.plot(np.convolve(losses, smooth, "valid"), color=BLUE, alpha=0.35, label="trained on")
left.plot(at, [test.masked_loss for test in tests], "o-", color=BLUE, markersize=3,
          label="held out")
left.plot(np.arange(50, 251, 50), [test.masked_loss for test in plain_tests], "o-",
          color=RED, markersize=3, label="random start, held out")
for height, words in ((floor.chance, "chance"), (floor.unigram, "unigram")):
    left.axhline(height, color="black", linestyle="--", linewidth=0.8)
    left.text(STEPS, height + 0.06, words, fontsize=8, ha="right")
left.set(title="Masked words", xlabel="step", ylabel="loss, nats", ylim=(3, 8))
left.legend(frameon=False, fontsize=7)
right.plot(at, [test.pair_loss for test in tests], "o-", color=BLUE, markersize=3)
right.axhline(floor.pair, color="black", linestyle="--", linewidth=0.8)
right.text(STEPS, floor.pair + 0.003, "chance", fontsize=8, ha="right")
right.set(title="Next sentence: chance for long", xlabel="step", ylabel="held-out loss")
figure

# %% disguised
def disguised(batch, how, rng):
    """The batch with every word that is not asked for hidden, or all of these shuffled."""
    ids = batch["input_ids"].copy()
    context = (batch["labels"] == IGNORE_INDEX) & ~np.isin(ids, tokenizer.special_ids)
    for row, free in zip(ids, context):
        row[free] = rng.permutation(row[free]) if how == "shuffled" else tokenizer.mask_id
    return {**batch, "input_ids": ids}


# %% disguised-run
rng = np.random.default_rng(0)
with single_threaded_blas():
    hidden, shuffled = (evaluate(model, [disguised(b, how, rng) for b in held_out])
                        for how in ("hidden", "shuffled"))
hidden, shuffled = hidden.masked_loss, shuffled.masked_loss
print("the other words are worth more than a nat:", hidden - end.masked_loss > 1)
print("without them the model is within half a nat of the unigram floor:",
      abs(hidden - floor.unigram) < 0.5)
print("shuffled they are worse than none:", shuffled > hidden)
figure, axes = lab.figure(width=5.8, height=2.1)
axes.barh(["as they are", "hidden", "shuffled"], [end.masked_loss, hidden, shuffled],
          color=[BLUE, GREY, RED], height=0.6)
axes.axvline(floor.unigram, color="black", linestyle="--", linewidth=0.8, label="unigram")
axes.set(title="Words out of order are worse than none", xlabel="held-out loss, nats",
         ylabel="the other words", xlim=(0, 9))
axes.invert_yaxis()
axes.legend(frameon=False, fontsize=8, loc="lower right")
figure

# %% frequency
surprise, truth = [], []
for b in held_out:
    with no_grad():
        scores = model(**b, labelled_only=True).masked_lm_logits.data.astype(float)
    labels = b["labels"][b["labels"] != IGNORE_INDEX]
    scores -= scores.max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    surprise.append(-log_p[np.arange(len(labels)), labels])
    truth.append(labels)
surprise, truth = np.concatenate(surprise), np.concatenate(truth)
print(lab.agree(1e-3, mean=surprise.mean(), loss=end.masked_loss))

# %% frequency-figure
rank = np.argsort(order)[truth]                        # 0 for the most frequent piece
edges = (0, 1), (1, 4), (4, 16), (16, 64), (64, 256), (256, V)
names = ["1"] + [f"{a + 1} to {b}" for a, b in edges[1:]]
bins = [(rank >= a) & (rank < b) for a, b in edges]
without = -np.log((counts + 1) / (counts + 1).sum())[truth]
gain = [without[inside].mean() - surprise[inside].mean() for inside in bins]
print("the context helps at every frequency:", min(gain) > 0.2)
figure, axes = lab.figure(width=6.0)
for shift, (values, colour, label) in enumerate(((without, GREY, "frequency alone"),
                                                 (surprise, BLUE, "the model"))):
    axes.bar(np.arange(6) + 0.4 * shift, [values[inside].mean() for inside in bins], 0.38,
             color=colour, label=label)
axes.set_xticks(np.arange(6) + 0.2, names)
axes.set(title="Rare words are hard, with and without context", ylabel="surprise, nats",
         xlabel="rank of the hidden piece by frequency")
axes.legend(frameon=False, fontsize=8)
figure

# %% maps
text = "Return a copy of the list with the first item removed."
encoded = tokenizer.encode(text)
tokens = [tokenizer.token(i) for i in encoded["input_ids"]]
attention_maps(model, {"input_ids": np.array([encoded["input_ids"]])}, tokens)

# %% distances
def looks(model, reach=6):
    """The mean probability of looking at each distance: (L, A, 2 reach + 1)."""
    b = held_out[0]
    inputs = {name: b[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    with no_grad():
        maps = np.stack(model.bert(**inputs, output_attentions=True).attentions)
    rows = np.flatnonzero(b["attention_mask"].all(axis=1))   # the pairs without padding
    return np.stack([np.diagonal(maps[:, rows], n, -2, -1).mean(axis=(1, 3))
                     for n in range(-reach, reach + 1)], axis=-1)


before, after = looks(untrained), looks(model)
neighbour = np.delete(after[0], 6, axis=-1).max()                # 6 is distance 0: itself
print("a head of layer 0 spends a third of its looks on one distance:", neighbour > 1 / 3)

# %% distances-figure
figure, panels = lab.figure(2, 4, height=1.7, sharex=True, sharey=True)
for layer, head in np.ndindex(2, 4):
    axes = panels[layer, head]
    axes.plot(range(-6, 7), before[layer, head], color=GREY, label="at the start")
    axes.plot(range(-6, 7), after[layer, head], color=BLUE, label="trained")
    axes.set_title(f"layer {layer}, head {head}", fontsize=9)
panels[1, 3].legend(frameon=False, fontsize=7)
figure.supxlabel("distance of the token looked at", fontsize=9)
figure.supylabel("mean probability", fontsize=9)
figure

# %% probe-by-hand
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])              # two tokens of width 3
y = np.array([1, 0])                                            # what the probe should say
W, b = np.array([[0.2, -0.4, 0.1], [0.3, 0.5, -0.2]]), np.array([0.1, -0.1])
z = x @ W.T + b                                                 # (1)
p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
dz = (p - np.eye(2)[y]) / 2                                     # softmax and mean surprise
dx, dW, db = dz @ W, dz.T @ x, dz.sum(axis=0)                   # (1')
library = linear_backward(dz, *linear(x, W, b)[1])
loss = {"x": lambda x: cross_entropy(x @ W.T + b, y)[0],
        "W": lambda W: cross_entropy(x @ W.T + b, y)[0],
        "b": lambda b: cross_entropy(x @ W.T + b, y)[0]}
for name, value, mine, its in zip("xWb", (x, W, b), (dx, dW, db), library):
    print(f"d{name}:", lab.agree(by_hand=mine, library=its,
                                numeric=lab.numeric_gradient(loss[name], value)))
lab.matrices(dz=dz, x=x, dW=dW, db=db, dx=dx)

# %% exercise-linear
@lab.answer("9.3")
def my_linear_backward(dy, x, weight):
    """dy (N, O), x (N, I), weight (O, I)  ->  dx (N, I), dweight (O, I), dbias (O,)"""
    ...

# %% exercise-probe
@lab.answer("9.4")
def probe_gradient(x, y, W, b):
    """x (N, I), y (N,) classes, W (C, I), b (C,)  ->  dW, db of the mean loss"""
    ...

# %% states
def states(model, how_many=12):
    """Hidden states of each layer at ordinary tokens, and what we know of each token."""
    found, facts = [], []
    for b in held_out[:how_many]:
        ids = np.where(b["labels"] != IGNORE_INDEX, b["labels"], b["input_ids"])
        with no_grad():
            states = model.bert(ids, b["token_type_ids"], b["attention_mask"],
                                output_hidden_states=True).hidden_states
        word = ~np.isin(ids, tokenizer.special_ids)
        use = word[:, 1:-1] & word[:, :-2] & word[:, 2:]        # with a word on either side
        found.append(np.stack([state.data[:, 1:-1][use] for state in states]))
        facts.append(np.stack([ids[:, 1:-1][use], ids[:, :-2][use], ids[:, 2:][use],
                               b["token_type_ids"][:, 1:-1][use]]))
    return np.concatenate(found, axis=1).astype(float), np.concatenate(facts, axis=1)

# %% probe
def probe(h, y, steps=100, lr=0.5):
    """Softmax regression on two thirds of the tokens; the share right of the others."""
    n, C = 2 * len(h) // 3, y.max() + 1
    h = (h - h[:n].mean(axis=0)) / h[:n].std(axis=0)
    W, b = np.zeros((C, h.shape[1])), np.zeros(C)
    for _ in range(steps):
        z = h[:n] @ W.T + b                                     # (1)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        dz = (p / p.sum(axis=1, keepdims=True) - np.eye(C)[y[:n]]) / n
        W, b = W - lr * dz.T @ h[:n], b - lr * dz.sum(axis=0)   # (1')
    return ((h[n:] @ W.T + b).argmax(axis=1) == y[n:]).mean()

# %% questions
rank = np.argsort(order)                                   # 0 for the most frequent piece
continues = tokenizer.continuation.astype(int)
questions = {
    "does this piece\ncontinue a word?": lambda this, left, right, part: continues[this],
    "does the next one?": lambda this, left, right, part: continues[right],
    "A or B?": lambda this, left, right, part: part,
    "which stands\nbefore it?": lambda this, left, right, part: np.minimum(rank[left], 10)}

# %% probe-run
scores = {}
for name, one in (("untrained", untrained), ("trained", model)):
    h, facts = states(one)
    answers = [ask(*facts) for ask in questions.values()]
    scores[name] = np.array([[probe(layer, y) for layer in h] for y in answers])
always = np.array([np.bincount(y).max() / len(y) for y in answers])
trained, untaught = scores["trained"], scores["untrained"]
print("a word vector tells whether its piece continues a word:", trained[0, 0] > 0.95)
print("it does not tell which one stands before it:", trained[3, 0] < always[3] + 0.05)
print("after layer 0 that can be read:", trained[3, 1] > always[3] + 0.06)
print("in the untrained model it cannot:", untaught[3, 1] < always[3] + 0.05)
print("A or B can be read everywhere, untrained too:", untaught[2].min() > 0.9)

# %% probe-figure
figure, panels = lab.figure(1, 4, height=2.5, sharey=True)
for i, (axes, question) in enumerate(zip(panels, questions)):
    axes.axhline(always[i], color="black", linestyle="--", linewidth=0.8, label="baseline")
    axes.plot(untaught[i], "o-", color=GREY, label="untrained")
    axes.plot(trained[i], "o-", color=BLUE, label="trained")
    axes.set_title(question, fontsize=8)
    axes.set_xticks([0, 1, 2], ["emb.", "0", "1"])
    axes.set(xlabel="after layer", ylim=(0.45, 1.02))
panels[0].set_ylabel("right on unseen tokens")
panels[1].legend(frameon=False, fontsize=7)
figure

# %% exercise-baseline
lab.answer("9.5", ...)

# %% cosine
def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


a, b = np.array([0.5, -1.0, 2.0]), np.array([1.5, 0.2, -0.3])
unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
da = (unit_b - cosine(a, b) * unit_a) / np.linalg.norm(a)
print(lab.agree(by_hand=da, numeric=lab.numeric_gradient(lambda a: cosine(a, b), a)))
print(f"cosine {cosine(a, b):.4f}, also of 5 a and b: {cosine(5 * a, b):.4f}")
print("no part along a:", lab.agree(product=da @ a, zero=0.0))

# %% neighbours
def unit_vectors(model):
    """Word vectors of length 1, so that a product of two is their cosine."""
    E = model.bert.embeddings.word_embeddings.weight.data.astype(float)
    return E / np.linalg.norm(E, axis=1, keepdims=True)


def neighbours(model, word, k=4):
    """The k pieces whose vectors have the largest cosine with that of a word."""
    E, (i,) = unit_vectors(model), tokenizer.ids([word])[0]
    return ", ".join([tokenizer.token(j) for j in np.argsort(-(E @ E[i])) if j != i][:k])


words = "string", "list", "returns", "first", "read", "error", "integer", "is"
whole = [word for word in words if len(tokenizer.ids([word])[0]) == 1]
table([(word, neighbours(plain, word), neighbours(model, word)) for word in whole],
      ("word", "random start, 250 steps", "trained"))

# %% alike
alike = [("returns", "return"), ("list", "tuple"), ("first", "last"), ("true", "false"),
         ("read", "write"), ("string", "bytes"), ("is", "are"), ("input", "output"),
         ("class", "classes"), ("two", "three"), ("used", "using"), ("name", "names")]
pairs = [tokenizer.ids(list(two)) for two in alike]
a, b = np.array([(x[0], y[0]) for x, y in pairs if len(x) == len(y) == 1]).T
c, d = np.random.default_rng(0).choice(tokenizer.ordinary_ids, (2, 2000))
E = unit_vectors(model)
near, any_two = (E[a] * E[b]).sum(axis=1), (E[c] * E[d]).sum(axis=1)
print("nearer than 95 of 100 pairs:", near.mean() > np.quantile(any_two, 0.95))
figure, axes = lab.figure(width=5.8, height=2.3)
axes.hist(any_two, 40, color=GREY, density=True, label="any two pieces")
axes.plot(near, np.full(len(near), 0.3), "|", color=RED, markersize=14, label="words alike")
axes.set(title="Words that are used alike have vectors alike", xlabel="cosine",
         ylabel="density")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-nearest
@lab.answer("9.6")
def nearest(E, i, k):
    """E (V, H)  ->  the numbers of the k rows nearest to row i by cosine, best first"""
    ...

# %% gaps
sentences = ("Raise a [MASK] if the key is not found.", "Open the [MASK] for reading.",
             "Return the number of [MASK] in the list.",
             "Return True if the [MASK] is empty.",
             "The first [MASK] is the name of the file.",
             "This is [MASK] by the constructor.")


def best(model, sentence):
    found = fill_mask(model, tokenizer, sentence, top=4)[0]
    return ", ".join(f"{guess.piece} {guess.probability:.0%}" for guess in found)


table([(s, best(plain, s), best(model, s)) for s in sentences],
      ("sentence", "random start, 250 steps", "trained"))

# %% gaps-figure
everything = fill_mask(model, tokenizer, "Open the [MASK] for reading.", top=V)[0]
p = {guess.piece: guess.probability for guess in everything}
usual = {tokenizer.token(i): (counts[i] + 1) / counts.sum() for i in range(V)}
print("all probabilities sum to 1:", abs(sum(p.values()) - 1) < 1e-3)
print("'file' is ten times as likely here as elsewhere:", p["file"] > 10 * usual["file"])
shown = [guess.piece for guess in everything[:5]] + ["the", "return"]
figure, axes = lab.figure(width=5.8, height=2.2)
at = np.arange(7)
axes.bar(at, [usual[piece] for piece in shown], 0.38, color=GREY, label="anywhere")
axes.bar(at + 0.4, [p[piece] for piece in shown], 0.38, color=BLUE, label="here")
axes.set_xticks(at + 0.2, shown)
axes.set(title="Open the [MASK] for reading.", ylabel="probability")
axes.legend(frameon=False, fontsize=8)
figure

# %% progress
lab.progress(9)
