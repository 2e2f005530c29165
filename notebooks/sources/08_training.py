"""The code of notebook 8; its text is in en/08_training.md."""

# %% setup
import numpy as np

from minibert import AdamW, BertConfig, BertForPreTraining, lab
from minibert.debug import microscope
from minibert.graph import no_grad
from minibert.lab.drawing import BLUE, GREEN, GREY, RED
from minibert.nn.module import Parameter
from minibert.ops.dropout import DropoutKey, dropout, dropout_backward
from minibert.ops.loss import IGNORE_INDEX, cross_entropy, cross_entropy_backward
from minibert.ops.softmax import softmax, softmax_backward
from minibert.optim import clip_scale, gradient_norm, warmup_linear
from minibert.text import Document, PretrainingBatches, Tokenizer
from minibert.train.lanes import Lanes

np.set_printoptions(precision=4, suppress=True)

# %% text
WORDS, T, B = 30, 12, 32                     # words, positions, sentences in a batch
PAD, MASK = 0, 1                             # so the words have the numbers 2 .. 31
frequency = 1 / np.arange(1, WORDS + 1)      # the n-th word is n times as rare as the first
frequency = frequency / frequency.sum()


def said_twice(rng, n):
    """n sentences of words drawn by their frequency, each word said twice: (n, T)."""
    return np.repeat(rng.choice(WORDS, (n, T // 2), p=frequency) + 2, 2, axis=1)


def masked(ids, rng, rate=0.15):
    """Some of the words hidden, and as labels the words that were there."""
    chosen = rng.random(ids.shape) < rate
    return {"input_ids": np.where(chosen, MASK, ids),
            "labels": np.where(chosen, ids, IGNORE_INDEX)}

# %% batch
def batch(step, seed=0):
    """The batch of a step: a function of the seed and the step, and of nothing else."""
    rng = np.random.default_rng([seed, step])
    return masked(said_twice(rng, B), rng)


for name, array in batch(0).items():
    print(f"{name:10}", array[0])

# %% model
def new_model(seed=0, dropout=0.0):
    """A BERT of one layer, in float64."""
    return BertForPreTraining(BertConfig(
        vocab_size=WORDS + 2, hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=T, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, initializer_range=0.1), seed, np.float64)


model = new_model()
optimizer = AdamW(model.parameters(), lr=0.01)
before = [p.data.copy() for p in optimizer.parameters]
for step in range(5):                        # the article's loop: batch, model, optimiser
    states = model.bert(batch(step)["input_ids"]).last_hidden_state
    optimizer.step()
moved = sum((p.data != old).any() for p, old in zip(optimizer.parameters, before))
print(f"a batch becomes {states.shape}; {moved} of {len(before)} arrays moved")

# %% loss-by-hand
logits = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])          # M = 2 hidden words, V = 3
labels = np.array([2, 1])                                       # what was there
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # (1)
loss = -np.log(p[[0, 1], labels]).sum() / 2                     # (2)
dlogits = (p - np.eye(3)[labels]) / 2                           # (2'-1')
numeric = lab.numeric_gradient(lambda x: cross_entropy(x, labels)[0], logits)
y, saved = cross_entropy(logits, labels)
dp = np.where(np.eye(3)[labels] == 1, -1 / (2 * p), 0)      # through -ln p / 2, and then
softmax_4, = softmax_backward(dp, p)                        # through notebook 4's softmax
print(f"loss {loss:.4f};", lab.agree(by_hand=loss, library=y))
print(lab.agree(by_hand=dlogits, numeric=numeric, notebook_4=softmax_4,
                library=cross_entropy_backward(1.0, *saved)[0]))
lab.matrices(logits=logits, p=p, dlogits=dlogits)

# %% train
def train(steps=300, seed=0, lr=0.01, warmup=100, clip=1.0, spike=None, make=AdamW, **more):
    """Losses of a new model, and the model.  spike: a step with its gradient times 1000."""
    model = new_model(seed)
    optimizer = make(model.parameters(), **more)
    losses = []
    for step in range(steps):
        loss = model(**batch(step), labelled_only=True).masked_lm_loss # forward
        (loss * (1000.0 if step == spike else 1.0)).backward()         # backward
        scale = clip_scale(gradient_norm(optimizer.parameters), clip)  # not too long
        optimizer.lr = warmup_linear(step + 1, lr, warmup, steps)      # how far
        optimizer.step(scale)                                          # the weights move
        optimizer.zero_grad()                                          # for the next step
        losses.append(loss.item())
    return np.array(losses), model


def smooth(losses, width=15):
    """Means over a few steps, to see the curve through the noise of the batches."""
    return np.convolve(losses, np.ones(width) / width, mode="valid")

# %% first-run
losses, model = train()
chance, unigram = np.log(WORDS + 2), -(frequency * np.log(frequency)).sum()
print(f"ln {WORDS + 2} = {chance:.2f}, entropy of the words = {unigram:.2f}")
print(f"mean loss of steps 60 to 110: {losses[60:110].mean():.2f}; "
      f"of the last 50: {losses[-50:].mean():.2f}")
figure, axes = lab.figure(width=6.2, height=2.8)
axes.plot(losses, color=BLUE, alpha=0.25)
axes.plot(np.arange(7, 293), smooth(losses), color=BLUE, label="loss, mean of 15 steps")
for floor, colour, words in ((chance, GREY, "chance: ln 32"),
                             (unigram, RED, "unigram: the words' entropy"),
                             (0.15 * unigram, GREEN, "15 % of it: twin hidden, too")):
    axes.axhline(floor, color=colour, linestyle="--", linewidth=1, label=words)
axes.set(title="The loss waits at the unigram floor, then falls", xlabel="step",
         ylabel="loss, nats", ylim=(0, 3.9))
axes.legend(frameon=False, fontsize=7, loc="lower left")
figure

# %% exercise-first-loss
lab.answer("8.1", ...)

# %% pure
def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


print("step 7, asked for twice: the same:", same(batch(7), batch(7)))
print("steps 7 and 8:           the same:", same(batch(7), batch(8)))
print("step 7 of two seeds:     the same:", same(batch(7), batch(7, seed=1)))

# %% resume
def steps(model, optimizer, first, last, batch):
    """Train from step `first` to step `last`."""
    for step in range(first, last):
        model(**batch(step), labelled_only=True).masked_lm_loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])

# %% interrupted
def copy_into(model, optimizer, old_model, old):
    """What a save holds: the weights, both moments, and the number of the step."""
    for p, q in zip(model.parameters(), old_model.parameters()):
        p.assign(q.data)
    for array, saved in zip([*optimizer.m, *optimizer.v], [*old.m, *old.v]):
        array[...] = saved
    optimizer.steps = old.steps


def interrupted(make_batch):
    """Whether 10 steps, a stop and 10 more give the weights of 20 steps at a stretch."""
    whole, half, again = new_model(), new_model(), new_model(seed=1)
    steps(whole, AdamW(whole.parameters()), 0, 20, make_batch())
    first, second = AdamW(half.parameters()), AdamW(again.parameters())
    steps(half, first, 0, 10, make_batch())
    copy_into(again, second, half, first)
    steps(again, second, 10, 20, make_batch())
    return np.array_equal(weights(whole), weights(again))

# %% resume-run
def stateful():
    """A loader with a generator inside, as most have: a new start begins it anew."""
    rng = np.random.default_rng(0)
    return lambda step: masked(said_twice(rng, B), rng)


print("batches of the step:       the same bits:", interrupted(lambda: batch))
print("batches of a generator:    the same bits:", interrupted(stateful))

# %% library-batches
names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
         "ten"]
documents = [Document(f"adding {b}", tuple(f"{names[a]} and {names[b]} make {a + b}."
                                           for a in range(11))) for b in range(1, 11)]
tokenizer = Tokenizer.train((s for d in documents for s in d.sentences), vocab_size=100)
loader = PretrainingBatches.from_documents(documents, tokenizer, batch_size=8,
                                           max_length=32)

# %% library-batches-look
one = loader.batch(3)
print(*(f"{name} {array.shape}" for name, array in one.items()), sep="\n")
print(tokenizer.decode(one["input_ids"][1]).replace("[SEP] ", "[SEP]\n"))
found = [loader.batch(step) for step in range(200)]
ids, labels = (np.concatenate([b[k].ravel() for b in found])
               for k in ("input_ids", "labels"))
hidden = labels != IGNORE_INDEX
print(f"hidden: as [MASK] {(ids[hidden] == tokenizer.mask_id).mean():.2f}, "
      f"as they were {(ids == labels)[hidden].mean():.2f}, the rest random")

# %% library-batches-figure
figure, panels = lab.figure(1, 2, height=2.3, sharey=True)
for axes, step in zip(panels, (3, 3 + len(loader))):
    b = loader.batch(step)
    kind = np.where(b["attention_mask"] == 1, 0.25 + 0.25 * b["token_type_ids"], 0.0)
    kind = np.where(b["labels"] != IGNORE_INDEX, 1.0, kind)
    axes.imshow(kind, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set(title=f"step {step}: epoch {step // len(loader)}", xlabel="position")
    axes.grid(False)
panels[0].set_ylabel("sentence pair")
figure.suptitle("Light: A; darker: B; dark: to be predicted", fontsize=9)
figure

# %% bias-by-hand
b = np.array([0.4, -0.2, 0.1])                   # V = 3 scores, the same at every position
labels = np.array([0, 0])                        # M = 2: both hidden words are word 0
p, _ = softmax(b)
n = np.bincount(labels, minlength=3)
db = p - n / 2
numeric = lab.numeric_gradient(lambda b: cross_entropy(np.tile(b, (2, 1)), labels)[0], b)
_, saved = cross_entropy(np.tile(b, (2, 1)), labels)
dlogits, = cross_entropy_backward(1.0, *saved)   # 2 x 3
print(lab.agree(by_hand=db, numeric=numeric, library=dlogits.sum(axis=0)))
lab.matrices(dlogits=dlogits, p=p, shares=n / 2, db=db)

# %% bias-best
many = np.random.default_rng(1).choice(WORDS, 5000, p=frequency)       # 5000 hidden words
share = np.bincount(many, minlength=WORDS) / 5000
best, saved = cross_entropy(np.tile(np.log(share), (5000, 1)), many)   # b = ln(n / M)
db = cross_entropy_backward(1.0, *saved)[0].sum(axis=0)
entropy = -(share * np.log(share)).sum()
print("db:  ", lab.agree(db=db, zero=np.zeros(WORDS)))
print("loss:", lab.agree(loss=best, entropy=entropy))
print(f"{entropy:.3f} nats for these 5000 words")

# %% plateau
def guesses(model, step=500):
    """The probabilities (M, 30) of the words at the hidden positions of a batch."""
    with no_grad():
        logits = model(**batch(step), labelled_only=True).masked_lm_logits.data
    return softmax(logits)[0][:, 2:]


waiting = guesses(train(steps=110)[1])
trained = guesses(model)
for name, p in (("on the plateau", waiting), ("at the end", trained)):
    distance = np.abs(p - frequency).sum(axis=1).mean() / 2       # 0: the same; 1: apart
    print(f"{name:15} distance from the frequencies {distance:.2f}")

# %% plateau-figure
figure, panels = lab.figure(1, 2, height=2.7, sharey=True)
for axes, p, title in zip(panels, (waiting, trained), ("On the plateau", "At the end")):
    for row in p[:12]:
        axes.semilogy(np.arange(1, WORDS + 1), row, color=BLUE, alpha=0.35, linewidth=0.9)
    axes.semilogy(np.arange(1, WORDS + 1), frequency, color=RED, linewidth=2,
                  label="frequency")
    axes.set(title=f"{title}, at 12 places", xlabel="word, by frequency", ylim=(1e-5, 2))
panels[0].set_ylabel("probability")
panels[0].legend(frameon=False, fontsize=8)
figure

# %% exercise-entropy
lab.answer("8.2", ...)

# %% sizes
model = new_model()
model(**batch(0)).masked_lm_loss.backward()
kinds = {"query, key": ("query.weight", "key.weight"), "value": ("value.weight",),
         "feed-forward": ("intermediate.dense.weight", "layer.0.output.dense.weight"),
         "word vectors": ("word_embeddings.weight",), "output bias": ("predictions.bias",)}
sizes = {kind: np.mean([np.sqrt(np.mean(q.grad**2)) for name, q in model.named_parameters()
                        if name.endswith(ends)]) for kind, ends in kinds.items()}
print(f"word vectors : queries = {sizes['word vectors'] / sizes['query, key']:.0f} : 1")
figure, axes = lab.figure(width=5.6, height=2.0)
axes.barh(list(sizes), list(sizes.values()), color=BLUE)
axes.set(xscale="log", xlim=(1e-4, 1e-1), xlabel="root mean square of dw, step 0",
         title="Queries and keys hear least of the loss")
axes.invert_yaxis()
figure

# %% descent
class Descent:
    """Plain gradient descent: w = w - lr g."""

    def __init__(self, parameters):
        self.parameters = list(parameters)

    def step(self, scale=1.0):
        for p in self.parameters:
            if p.grad is not None:
                p.assign(p.data - self.lr * scale * p.grad)

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

# %% descent-run
figure, axes = lab.figure(width=5.8)
for lr, colour in ((0.1, GREY), (1.0, RED)):
    slow, _ = train(make=Descent, lr=lr)
    print(f"gradient descent, lr {lr}: loss {slow[-50:].mean():.2f} in the end")
    axes.plot(smooth(slow), color=colour, label=f"gradient descent, lr {lr}")
axes.plot(smooth(losses), color=BLUE, label="AdamW, lr 0.01")
axes.axhline(unigram, color="black", linestyle="--", linewidth=0.8, label="unigram floor")
axes.set(title="Gradient descent learns the frequencies and stays", xlabel="step",
         ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% adam-by-hand
lr, b1, b2, eps, decay = 0.1, 0.9, 0.999, 1e-6, 0.01
rng = np.random.default_rng(8)
w = np.array([[1.0, -2.0, 0.5], [0.3, 0.0, -1.0]])             # 2 x 3
P = Parameter(w.copy())
library = AdamW([P], lr, (b1, b2), eps, decay)
m = v = np.zeros((2, 3))
for t in (1, 2, 3):
    g = rng.standard_normal((2, 3)) * [10.0, 1.0, 0.01]        # columns of different size
    m = b1 * m + (1 - b1) * g                                  # (1)
    v = b2 * v + (1 - b2) * g**2                               # (2)
    w = w - lr * decay * w                                     # (3)
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    w = w - lr * m_hat / (np.sqrt(v_hat) + eps)                # (4)
    P.grad = g
    library.step()
for name, mine, its in (("m", m, library.m[0]), ("v", v, library.v[0]), ("w", w, P.data)):
    print(name, lab.agree(by_hand=mine, library=its))
lab.matrices(g=g, m_hat=m_hat, root=np.sqrt(v_hat), ratio=m_hat / np.sqrt(v_hat))

# %% moments
def moments(gradients, b1=0.9, b2=0.99):
    """m, and m_hat / sqrt(v_hat), step by step."""
    m = v = 0.0
    found = []
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        found.append((m, m / (1 - b1**t) / np.sqrt(v / (1 - b2**t))))
    return np.array(found).T


g = 1 + 2 * np.random.default_rng(3).standard_normal(300)     # mean 1, deviation 2
(m, ratio), (_, of_small) = moments(g), moments(g / 1000)
print(f"deviation of g {g.std():.2f}, of m {m[50:].std():.2f}, "
      f"by the formula {2 * np.sqrt(0.1 / 1.9):.2f}")
print(lab.agree(ratio=ratio, of_a_thousandth=of_small))

# %% moments-figure
figure, (left, right) = lab.figure(1, 2)
left.plot(g, color=GREY, alpha=0.5, linewidth=0.7, label="g")
left.plot(m, color=BLUE, label="m")
left.set(title="m is what lasts of g", xlabel="step", ylabel="gradient")
right.plot(ratio, color=BLUE, linewidth=4, alpha=0.35, label="from g")
right.plot(of_small, color=RED, linewidth=0.8, label="from g / 1000")
right.set(title="Gradients of any size, the same steps", xlabel="step", ylabel="step / lr")
left.legend(frameon=False, fontsize=8)
right.legend(frameon=False, fontsize=8)
figure

# %% correction
t = np.arange(1, 3001)
shares = 0.1 * 0.9 ** np.arange(5)                # of the gradients 5, 4, 3, 2, 1 in m_5
print(f"the shares in m_5 sum to {shares.sum():.5f}; 1 - 0.9^5 = {1 - 0.9**5:.5f}")
without = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)            # m / sqrt(v) while g stays 1
print(f"the first step is {without[0]:.2f} lr, the longest {without.max():.2f} lr, at "
      f"t = {t[without.argmax()]}")
figure, axes = lab.figure(width=5.8, height=2.4)
axes.semilogx(t, without, color=RED, label="without")
axes.semilogx(t, np.ones(3000), color=BLUE, label="with bias correction")
axes.set(title="Without bias correction the first thousand steps are too long",
         xlabel="step t", ylabel="step / lr, for a constant g", ylim=(0, 7))
axes.legend(frameon=False, fontsize=8)
figure

# %% correction-run
off, _ = train(bias_correction=False)
third, _ = train(bias_correction=False, lr=0.003)
figure, axes = lab.figure(width=5.8)
for name, curve, colour in (("with, lr 0.01", losses, BLUE), ("without, lr 0.01", off, RED),
                            ("without, lr 0.003", third, GREEN)):
    axes.plot(smooth(curve), color=colour, label=name)
    print(f"{name:18} loss {curve[-50:].mean():.2f} in the end")
axes.axhline(unigram, color="black", linestyle="--", linewidth=0.8)
axes.set(title="Without bias correction the same rate is too large", xlabel="step",
         ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-first-step
lab.answer("8.3", ...)

# %% decay
def pulled(inside, size, steps=400, lr=0.01, strength=0.3):
    """The mean of 300 weights that start at 1; their gradients are noise of this size."""
    rng = np.random.default_rng(5)
    w = Parameter(np.ones(300))
    optimizer = AdamW([w], lr, (0.9, 0.999), 1e-8, 0.0 if inside else strength)
    path = []
    for _ in range(steps):
        w.grad = size * rng.standard_normal(300) + (strength * w.data if inside else 0.0)
        optimizer.step()
        path.append(w.data.mean())
    return np.array(path)

# %% decay-run
figure, panels = lab.figure(1, 2, sharey=True)
for axes, inside in zip(panels, (False, True)):
    for size, colour in ((100.0, RED), (1.0, GREY), (0.01, BLUE)):
        path = pulled(inside, size)
        axes.plot(path, color=colour, label=f"gradients of size {size:g}")
        name = "L2 inside Adam" if inside else "decoupled"
        print(f"{name:15} {size:6} {abs(path[-1]):6.2f}")
    axes.plot(0.997 ** np.arange(1, 401), "k--", linewidth=0.8, label="decay alone")
    axes.set(title="L2 in the gradient" if inside else "Decoupled decay", xlabel="step")
panels[0].set_ylabel("mean of 300 weights")
panels[0].legend(frameon=False, fontsize=7)
figure

# %% microscope
model = new_model()
optimizer = AdamW(model.parameters(), lr=0.01)
steps(model, optimizer, 0, 3, batch)
model(**batch(3), labelled_only=True).masked_lm_loss.backward()
scale = clip_scale(gradient_norm(optimizer.parameters), 0.5)
word = model.bert.embeddings.word_embeddings.weight
seen = microscope(optimizer, word[2, 5], scale)
g = word.grad[2, 5] * scale                                        # by hand, step 4
i = next(i for i, q in enumerate(optimizer.parameters) if q is word)
m = 0.9 * optimizer.m[i][2, 5] + 0.1 * g                           # (1)
v = 0.999 * optimizer.v[i][2, 5] + 0.001 * g**2                    # (2)
w = word.data[2, 5] * (1 - 0.01 * 0.01)                            # (3)
w = w - 0.01 * m / (1 - 0.9**4) / (np.sqrt(v / (1 - 0.999**4)) + 1e-6)    # (4)
optimizer.step(scale)
print(lab.agree(by_hand=w, microscope=seen.w_new, after_the_step=word.data[2, 5]))
seen

# %% microscope-row
steps(model, optimizer, 4, 5, batch)
model(**batch(5), labelled_only=True).masked_lm_loss.backward()
microscope(optimizer, word[2]).figure()

# %% exercise-adamw
@lab.answer("8.4")
def my_adamw(w, g, m, v, t, lr, b1, b2, eps, decay):
    """One step, the t-th (t = 1, 2, ...)  ->  the new m, v, w"""
    ...

# %% schedule
def rate(t, peak, warmup, total):
    """The learning rate of step t = 1 .. total."""
    up, down = t / warmup, (total + 1 - t) / (total + 1 - warmup)
    return peak * min(up, down)


t = np.arange(1, 301)
mine = np.array([rate(i, 0.01, 100, 300) for i in t])
print(lab.agree(by_hand=mine, library=[warmup_linear(i, 0.01, 100, 300) for i in t]))
figure, axes = lab.figure(width=5.8, height=2.0)
for warmup, colour in ((100, BLUE), (1, RED)):
    axes.plot(t, [rate(i, 0.01, warmup, 300) for i in t], color=colour,
              label=f"warm-up of {warmup}")
axes.set(title="Up to the peak, then down to 0", xlabel="step", ylabel="learning rate")
axes.legend(frameon=False, fontsize=8)
figure

# %% warmup-run
figure, axes = lab.figure(width=5.8)
runs = {warmup: [train(seed=seed, warmup=warmup)[0] for seed in (0, 1, 3)]
        for warmup in (1, 100)}
for warmup, colour in ((1, RED), (100, BLUE)):
    for i, curve in enumerate(runs[warmup]):
        axes.plot(smooth(curve), color=colour, linewidth=1.1,
                  label=None if i else f"warm-up of {warmup}")
    last = ", ".join(f"{curve[-50:].mean():.2f}" for curve in runs[warmup])
    print(f"warm-up of {warmup:3}: loss {last} in the end")
axes.axhline(unigram, color="black", linestyle="--", linewidth=0.8)
axes.set(title="Three seeds each: with warm-up all leave the plateau", xlabel="step",
         ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-schedule
@lab.answer("8.5")
def my_rate(steps, peak, warmup, total):
    """Their learning rates; steps: an array of numbers from 1 to total"""
    ...

# %% clip-by-hand
a, b = Parameter(np.zeros((2, 3))), Parameter(np.zeros(3))
a.grad = np.array([[3.0, 0.0, -1.0], [2.0, 0.5, 0.0]])
b.grad = np.array([1.0, -2.0, 0.0])
everything = np.concatenate([a.grad.ravel(), b.grad])
norm = np.sqrt((everything**2).sum())
scale = min(1.0, 1.0 / norm)
print("norm:", lab.agree(by_hand=norm, library=gradient_norm([a, b])))
print("scale:", lab.agree(by_hand=scale, library=clip_scale(norm, 1.0)))
print(f"length before {norm:.2f}, after {np.linalg.norm(everything * scale):.2f}")
lab.matrices(da=a.grad, scaled=a.grad * scale, each_number_cut=np.clip(a.grad, -1, 1))

# %% clip-run
curves = {"clipped": train(spike=150)[0], "not clipped": train(spike=150, clip=np.inf)[0]}
print("the loss before, and in the end:")
figure, axes = lab.figure(width=5.8)
for (name, curve), colour in zip(curves.items(), (BLUE, RED)):
    axes.plot(np.arange(7, 293), smooth(curve), color=colour, label=name)
    print(f"{name:12} {curve[120:150].mean():.2f} {curve[-50:].mean():.2f}")
axes.axvline(150, color="black", linewidth=0.8, linestyle=":")
axes.text(152, 0.35, "one gradient,\n1000 times too large", fontsize=7)
axes.set(title="One bad batch, and AdamW remembers it", xlabel="step", ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% clip-memory
after = np.arange(0, 1001)
m, v = 0.1 * 1000 * 0.9**after, 0.001 * 1000**2 * 0.999**after + 1.0   # others are about 1
print(f"after 10 steps: {(1 / np.sqrt(v))[10]:.3f} of the usual step, "
      f"after 1000: {(1 / np.sqrt(v))[1000]:.3f}")
figure, axes = lab.figure(width=5.8, height=2.0)
axes.semilogy(after, m / np.sqrt(v), color=RED, label="what the bad gradient still moves")
axes.semilogy(after, 1 / np.sqrt(v), color=BLUE, label="what a usual gradient moves")
axes.set(title="m forgets in 50 steps, v in thousands", xlabel="steps since the bad batch",
         ylabel="step / lr", ylim=(1e-3, 10))
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-clip
lab.answer("8.6", ...)

# %% dropout-by-hand
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])
dy = np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0]])
key = DropoutKey(seed=0, step=7, site=3)                       # decides who is dropped
y, (keep, scale) = dropout(x, 0.5, key)
by_hand = x * keep / (1 - 0.5)                                 # (1)
dx = dy * keep / (1 - 0.5)                                     # (1')
numeric = lab.numeric_gradient(lambda x: (dropout(x, 0.5, key)[0] * dy).sum(), x)
print("y: ", lab.agree(by_hand=by_hand, library=y))
library, = dropout_backward(dy, keep, scale)
print("dx:", lab.agree(by_hand=dx, numeric=numeric, library=library))
print("step 7 again is the same:", np.array_equal(dropout(x, 0.5, key)[0], y))
print(f"the mean stays: {dropout(np.ones(10**6), 0.5, key)[0].mean():.2f}")
lab.matrices(x=x, keep=keep, y=y, dy=dy, dx=dx)

# %% exercise-dropout
@lab.answer("8.7")
def my_dropout_backward(dy, keep, scale):
    """dy (...), keep (...) True for the survivors, scale = 1 / (1 - p)  ->  dx (...)"""
    ...

# %% overfit
rng = np.random.default_rng(5)
few = said_twice(rng, 32)                                      # all the text there is
held_out = masked(said_twice(rng, 300), rng)                   # and text it never sees


def loss_of(model, inputs):
    return model(**inputs, labelled_only=True).masked_lm_loss


def update(optimizer, loss, lr):
    """Backward, clip, step."""
    loss.backward()
    optimizer.lr = lr
    optimizer.step(clip_scale(gradient_norm(optimizer.parameters), 1.0))
    optimizer.zero_grad()

# %% learn
def learn(dropout, steps=480):
    """Losses on the few sentences, masked anew each time, and on the held-out ones."""
    model, losses, tests = new_model(dropout=dropout), [], []
    optimizer = AdamW(model.parameters())
    for step in range(steps):
        loss = loss_of(model, masked(few, np.random.default_rng([1, step])))
        update(optimizer, loss, warmup_linear(step + 1, 0.01, 100, steps))
        losses.append(loss.item())
        if step % 20 == 19:
            with no_grad():
                tests.append(loss_of(model.eval(), held_out).item())
            model.train()
    return losses, tests

# %% overfit-run
figure, panels = lab.figure(1, 2, sharey=True)
for axes, p in zip(panels, (0.0, 0.1)):
    known, tests = learn(p)
    axes.plot(smooth(known), color=GREY, label="text trained on")
    axes.plot(np.arange(19, 480, 20), tests, color=RED, label="held-out text")
    axes.axhline(unigram, color="black", linestyle="--", linewidth=0.8, label="unigram")
    axes.set(title=f"Dropout {p}", xlabel="step")
    print(f"dropout {p}: trained on {np.mean(known[-50:]):.2f}, held out {tests[-1]:.2f}, "
          f"at worst {max(tests[3:]):.2f}")
panels[0].set_ylabel("loss, nats")
panels[0].legend(frameon=False, fontsize=8)
figure

# %% accumulate-by-hand
logits = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0], [0.3, 0.3, -2.0]])  # M = 3, as 2 + 1
labels = np.array([2, 1, 0])
whole, = cross_entropy_backward(1.0, *cross_entropy(logits, labels)[1])
parts = [(logits[:2], labels[:2]), (logits[2:], labels[2:])]
right = np.concatenate([cross_entropy_backward(1.0, *cross_entropy(*part, count=3)[1])[0]
                        for part in parts])
means = np.concatenate([cross_entropy_backward(0.5, *cross_entropy(*part)[1])[0]
                        for part in parts])
numeric = lab.numeric_gradient(lambda x: cross_entropy(x, labels)[0], logits)
print(lab.agree(whole=whole, numeric=numeric, in_parts=right))
print("mean of means / right:", (means / whole)[:, 0])
lab.matrices(whole=whole, in_parts=right, mean_of_means=means)

# %% lanes
small = BertForPreTraining(BertConfig(
    vocab_size=tokenizer.vocab_size, hidden_size=24, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=48, max_position_embeddings=32), 0, np.float64)
gradients = {}
for size in (8, 5, 3, 1):                                     # sentence pairs at a time
    lanes = Lanes(small, threads=2, micro_batch=size)
    lanes.gradients(loader.batch(0), step=0)
    lanes.close()
    gradients[size] = np.concatenate([p.grad.ravel() for p in small.parameters()])
    small.zero_grad()
print(lab.agree(1e-12, whole=gradients[8], fives=gradients[5], threes=gradients[3],
                one_by_one=gradients[1]))

# %% wrong-mean
b = loader.batch(0)
wrong = 0.0
for i in range(8):                                        # the mean of each pair's own mean
    small.bert.dropout_stream.seek(0, i)
    small(**{name: array[i:i + 1] for name, array in b.items()}).loss.backward()
    wrong = wrong + np.concatenate([p.grad.ravel() for p in small.parameters()]) / 8
    small.zero_grad()
print("hidden words of each pair:", (b["labels"] != IGNORE_INDEX).sum(axis=1))
figure, (left, right) = lab.figure(1, 2)
left.plot(gradients[8], gradients[1], ".", color=BLUE, markersize=2)
left.set(title="Divided by the batch's count", xlabel="whole batch", ylabel="one by one")
right.plot(gradients[8], wrong, ".", color=RED, markersize=2)
right.set(title="Mean of the means", xlabel="whole batch", ylabel="one by one")
off = np.linalg.norm(wrong - gradients[8]) / np.linalg.norm(gradients[8])
print(f"the mean of the means is off by {off:.0%} of the gradient's length")
figure

# %% exercise-parts
lab.answer("8.8", ...)

# %% progress
lab.progress(8)
