"""The code of notebook 7; its text is in en/07_outputs.md."""

# %% setup
import numpy as np

from minibert import BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.debug import card
from minibert.lab.drawing import BLUE, GREY, RED, heat
from minibert.ops.activation import gelu, tanh, tanh_backward
from minibert.ops.embedding import embedding_backward
from minibert.ops.linear import linear, linear_backward
from minibert.ops.loss import cross_entropy, cross_entropy_backward
from minibert.ops.normalization import layer_norm
from minibert.ops.softmax import log_softmax, log_softmax_backward, softmax_backward
from minibert.text.pairs import make_pairs

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(7)

# %% model
V, H, T = 30, 12, 10                           # words, width, positions
model = BertForPreTraining(BertConfig(
    vocab_size=V, hidden_size=H, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=2 * H, max_position_embeddings=T, initializer_range=0.3),
    seed=7, dtype=np.float64).eval()
short, long = rng.integers(5, V, (1, 4)), rng.integers(5, V, (1, 9))
for ids in (short, long):
    out = model(ids)
    print(f"{ids.size} tokens: {out.last_hidden_state.shape} from the encoder, "
          f"{out.pooler_output.shape} pooled")

# %% shapes
figure, axes = lab.figure(1, 3, height=2.2)
pictures = {"4 tokens": model(short).last_hidden_state.data[0],
            "9 tokens": model(long).last_hidden_state.data[0],
            "9 tokens, pooled": model(long).pooler_output.data}
for one, (name, x) in zip(axes, pictures.items()):
    heat(one, np.pad(x, ((0, 9 - len(x)), (0, 0)), constant_values=np.nan), unit=2.5)
    one.set(title=name, xlabel="number 0 to 11")
axes[0].set_ylabel("position")
figure

# %% logits
x = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0]])               # 2 positions, width H = 3
O = np.array([[0.5, 1.0, -0.2], [-1.0, 0.3, 0.8], [0.7, 0.0, 0.4], [0.2, -0.6, 1.1]])
b = np.array([0.1, 0.0, -0.3, 0.2])                              # C = 4 classes
logits = x @ O.T + b                                             # (linear 1)
dlogits = np.array([[0.2, -0.5, 0.1, 0.2], [0.4, 0.3, -0.8, 0.1]])
by_hand = dlogits @ O, dlogits.T @ x, dlogits.sum(axis=0)        # (linear 1')
library, saved = linear(x, O, b)
found = linear_backward(dlogits, *saved)
print(logits)
print("logits:", lab.agree(by_hand=logits, library=library))
given = {"x": x, "weight": O, "bias": b}
for i, name in enumerate(given):
    numeric = lab.numeric_gradient(lambda v, name=name: (
        linear(**(given | {name: v}))[0] * dlogits).sum(), given[name])
    print(f"d{name}:", lab.agree(by_hand=by_hand[i], numeric=numeric, library=found[i]))
lab.matrices(x=x, O=O, logits=logits)

# %% loss-by-hand
logits = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3]])           # 2 positions, 3 words
labels = np.array([0, 2])                                        # the right words
powers = np.exp(logits)
p = powers / powers.sum(axis=-1, keepdims=True)                  # (1)
loss = -(np.log(p[0, 0]) + np.log(p[1, 2])) / 2                  # (2)
library, saved = cross_entropy(logits, labels)
print(p)
print(f"surprises {-np.log(p[0, 0]):.3f} and {-np.log(p[1, 2]):.3f}, loss {loss:.3f}")
print(lab.agree(by_hand=loss, library=library))

# %% loss-backward
onehot = np.array([[1.0, 0, 0], [0, 0, 1]])
dlogits = (p - onehot) / 2                                       # (2'-1')
numeric = lab.numeric_gradient(lambda v: cross_entropy(v, labels)[0], logits)
found, = cross_entropy_backward(np.array(1.0), *saved)
notebook_4, = softmax_backward(-onehot / p / 2, p)               # 1 / p cancels
print(dlogits)
print(lab.agree(by_hand=dlogits, numeric=numeric, library=found, notebook_4=notebook_4))
lab.matrices(logits=logits, p=p, onehot=onehot, dlogits=dlogits)

# %% loss-card
card("cross_entropy")

# %% force
lead = np.linspace(-8, 8, 161)                                   # of the right word's logit
both = np.stack([lead, 0 * lead], axis=-1)
loss_at = np.array([cross_entropy(row[None], np.array([0]))[0] for row in both])
probs = np.exp(-loss_at)
squared = -2 * (1 - probs) * probs * (1 - probs)                 # of (1 - p)^2 instead
figure, (left, right) = lab.figure(1, 2)
left.plot(lead, loss_at)
left.set(title="The loss", xlabel="lead of the right logit", ylabel="nats")
right.plot(lead, probs - 1, label="cross-entropy: p - 1")
right.plot(lead, squared, label="squared error of p")
right.set(title="Wrong and sure: it pulls hardest", xlabel="lead of the right logit",
          ylabel="gradient of that logit")
right.legend(frameon=False, fontsize=8, loc="lower right")
figure

# %% exercise-onehot
lab.answer("7.1", ...)                         # three numbers, as [1, 2, 3]

# %% exercise-backward
@lab.answer("7.2")
def my_cross_entropy_backward(dloss, p, rows, classes, scale, logits_shape):
    """p (M, V) and classes (M,): labelled rows; scale = 1 / count  ->  dlogits (..., V)"""
    ...

# %% overflow
large = np.array([1000.0, 999.0, 998.0])
with np.errstate(all="ignore"):
    naive = np.log(np.exp(large).sum())
largest = large.max()
stable = largest + np.log(np.exp(large - largest).sum())
print(f"naive  {naive:.4f}")
print(f"stable {stable:.4f}")

# %% log-softmax
y = logits - logits.max(axis=-1, keepdims=True)
y -= np.log(np.exp(y).sum(axis=-1, keepdims=True))               # (log softmax 1)
dy = np.array([[0.4, -1.0, 0.3], [0.6, 0.2, -0.7]])
dx = dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)             # (log softmax 1')
library, saved = log_softmax(logits)
numeric = lab.numeric_gradient(lambda v: (log_softmax(v)[0] * dy).sum(), logits)
print("y: ", lab.agree(by_hand=y, library=library))
print("dx:", lab.agree(by_hand=dx, numeric=numeric,
                       library=log_softmax_backward(dy, *saved)[0]))
picked = -(y * onehot).sum() / 2
print("loss:", lab.agree(here=picked, above=loss))

# %% range
leads = np.linspace(0, 150, 151, dtype=np.float32)
pair = np.stack([leads, 0 * leads], axis=-1)             # the right word is the second
with np.errstate(all="ignore"):
    naive = -np.log(np.exp(pair)[:, 1] / np.exp(pair).sum(axis=-1))
stable = -log_softmax(pair)[0][:, 1]
finite = np.isfinite(naive)
print(f"float32: the naive loss is a number up to a lead of {leads[finite].max():.0f}")
figure, axes = lab.figure(width=5.0)
axes.plot(leads, stable, color=BLUE, label="log-sum-exp")
axes.plot(leads[finite], naive[finite], color=RED, linewidth=4, alpha=0.4, label="naive")
axes.plot(leads[finite][-1], naive[finite][-1], "x", color=RED, markersize=9)
axes.set(title="The naive loss ends at 88", xlabel="lead of the wrong logit",
         ylabel="loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-logsumexp
@lab.answer("7.3")
def my_log_sum_exp(x):
    """x (..., V)  ->  ln(sum(exp(x))) over the last axis, (...)"""
    ...

# %% head-by-hand
head = model.cls.predictions
rows = model(long).last_hidden_state[0, 2:4].data                # two positions
dense, norm = head.transform.dense, head.transform.LayerNorm
h = gelu(rows @ dense.weight.data.T + dense.bias.data)[0]
h = layer_norm(h, norm.weight.data, norm.bias.data)[0]           # the transform
words = model.bert.embeddings.word_embeddings.weight
scores = h @ words.data.T + head.bias.data                       # the word table once more
print(lab.agree(by_hand=scores, library=head(Tensor(rows))))
print("one parameter:", head.decoder.weight is words)

# %% tied-by-hand
table = np.array([[0.5, -1.0], [1.0, 0.3], [-0.4, 0.8]])         # 3 words of width 2
ids, labels = np.array([0, 2]), np.array([1, 1])


def tied(E):
    return cross_entropy(E[ids] @ E.T, labels)


x = table[ids]
d, = cross_entropy_backward(np.array(1.0), *tied(table)[1])
decoder = d.T @ x                                            # 1: as weight of the output
lookup, = embedding_backward(d @ table, ids, table.shape)    # 2: as rows of the input
numeric = lab.numeric_gradient(lambda v: tied(v)[0], table)
both = Tensor(table, requires_grad=True)
F.cross_entropy(F.linear(F.embedding(both, ids), both), labels).backward()
print(lab.agree(by_hand=decoder + lookup, numeric=numeric, library=both.grad))
lab.matrices(decoder=decoder, lookup=lookup, dE=decoder + lookup)

# %% tied-model
ids = rng.integers(5, V, (4, T))
labels = np.where(rng.random((4, T)) < 0.2, rng.integers(5, V, (4, T)), -100)
labels[:, 3] = ids[:, 4]


def gradients(loss):
    """The gradient of every parameter."""
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


whole = gradients(model(ids, labels=labels).loss)[words.name]
states = model(ids).last_hidden_state.detach()                   # cut: no way to the input
output_part = gradients(F.cross_entropy(head(states), labels))[words.name]
input_part = whole - output_part
print("words reached by the lookup: ", int((np.abs(input_part).max(axis=1) > 1e-9).sum()))
print("words reached by the decoder:", int((np.abs(output_part).max(axis=1) > 1e-9).sum()))

# %% tied-figure
figure, axes = lab.figure(1, 2, height=2.2)
for one, (name, part) in zip(axes, (("lookup", input_part), ("decoder", output_part))):
    unit = np.abs(part).max()
    one.imshow(part.T, cmap="RdBu_r", vmin=-unit, vmax=unit, aspect="auto")
    one.set(title=f"dE, by the {name}", xlabel="word", ylabel="number of its vector")
    one.grid(False)
figure

# %% exercise-tied
lab.answer("7.4", ...)

# %% masked-only
full = model(ids)
everywhere = F.cross_entropy(full.prediction_logits, labels)    # scores at 40 positions
print("all positions:", full.prediction_logits.shape, f"loss {everywhere.item():.4f}")
slow = gradients(everywhere)
few = model(ids, labels=labels)                                 # scores at the labels
print("masked only:  ", few.masked_lm_logits.shape, f"loss {few.loss.item():.4f}")
fast = gradients(few.loss)
fewest = gradients(model(ids, labels=labels, labelled_only=True).loss)
for name in slow:
    lab.agree(slow=slow[name], fast=fast[name], last_layer_only_there=fewest[name])
print(f"{len(slow)} gradients, three ways: equal")

# %% masked-rows
logits = Tensor(full.prediction_logits.data, requires_grad=True)
F.cross_entropy(logits, labels).backward()
strength = np.abs(logits.grad).sum(axis=-1)
figure, (left, right) = lab.figure(1, 2, height=2.0)
for axes, picture, title in ((left, labels != -100, "Where there is a label"),
                             (right, strength, "Where dlogits is not 0")):
    axes.imshow(picture, cmap="Blues", vmin=0)
    axes.set(title=title, xlabel="position", ylabel="sentence", yticks=range(4))
    axes.grid(False)
figure

# %% flops
def products(B, T, H, L, V, masked):
    """Multiplications and additions of a forward pass: the encoder, and the scores."""
    encoder = L * (2 * B * T * 12 * H**2 + 4 * B * T * T * H)
    return encoder, 2 * B * T * masked * H * V


figure, axes = lab.figure(width=5.6, height=2.2)
names = {"base": (768, 12), "small": (512, 4), "mini": (256, 4), "tiny": (128, 2)}
for i, (H_, L_) in enumerate(names.values()):
    for up, masked, colour in ((0.2, 1.0, RED), (-0.2, 0.15, BLUE)):
        encoder, scores = products(32, 128, H_, L_, 30522, masked)
        axes.barh(i + up, 100 * scores / (encoder + scores), 0.35, color=colour,
                  label=f"{masked:.0%} of the positions" if i == 0 else None)
axes.set(title="The scores can cost more than the encoder", yticks=range(4),
         yticklabels=names, xlim=(0, 100),
         xlabel="share of the scores in the work of a forward pass, %")
axes.legend(frameon=False, fontsize=8)
figure

# %% flops-numbers
for name, (H_, L_) in names.items():
    encoder, scores = products(32, 128, H_, L_, 30522, 1.0)
    print(f"{name:5}: scores everywhere {scores / encoder:.2f} times the encoder's work,"
          f" masked only {0.15 * scores / encoder:.2f} times")

# %% exercise-memory
lab.answer("7.5", ...)

# %% cut
M = int((labels != -100).sum())
counts = (labels != -100).sum(axis=1)
print("labels in each sentence:", counts)
whole = gradients(model(ids, labels=labels).loss)
parts = [slice(0, 1), slice(1, 4)]
right = [gradients(model(ids[s], labels=labels[s], masked_count=M).loss) for s in parts]
wrong = [gradients(model(ids[s], labels=labels[s]).loss) for s in parts]
added = {name: right[0][name] + right[1][name] for name in whole}
averaged = {name: (wrong[0][name] + wrong[1][name]) / 2 for name in whole}
for name in whole:
    lab.agree(whole=whole[name], added_parts=added[name])
print("sums over the count of the batch: equal to the uncut gradient")
print("means of means: equal?", all(np.allclose(whole[n], averaged[n]) for n in whole))

# %% cut-weights
uneven = np.array([2, 9, 1, 4])                # labels in four parts of a batch
weights = {"one mean over the batch": np.repeat(1 / uneven.sum(), uneven.sum()),
           "mean of four means": np.repeat(1 / (4 * uneven), uneven)}
figure, axes = lab.figure(width=5.6)
for (name, w), colour in zip(weights.items(), (BLUE, RED)):
    axes.step(range(16), w, where="mid", color=colour, label=name)
for edge in np.cumsum(uneven)[:-1]:
    axes.axvline(edge - 0.5, color=GREY, linewidth=0.6, linestyle=":")
axes.set(title="What a word counts must not depend on its neighbours", xlabel="masked word",
         ylabel="its weight in the loss", ylim=(0, 0.3))
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-cut
lab.answer("7.6", ...)

# %% pooled-by-hand
cls = np.array([[0.5, -1.0, 0.3], [0.2, 0.9, -0.6]])             # [CLS] of B = 2 examples
Wp, bp = rng.standard_normal((3, 3)), np.array([0.1, 0.0, -0.2])
O2 = np.array([[1.0, -0.4, 0.6], [-0.3, 0.8, 0.5]])              # C = 2 classes
dlogits = np.array([[0.3, -0.3], [-0.4, 0.4]])
pooled = np.tanh(cls @ Wp.T + bp)
dpooled, dO2 = dlogits @ O2, dlogits.T @ pooled                  # (linear 1')
dz = dpooled * (1 - pooled**2)                                   # through tanh, notebook 1
dcls, dWp, dbp = dz @ Wp, dz.T @ cls, dz.sum(axis=0)             # (linear 1')
numeric = lab.numeric_gradient(
    lambda v: (np.tanh(v @ Wp.T + bp) @ O2.T * dlogits).sum(), cls)
z, first = linear(cls, Wp, bp)
_, middle = tanh(z)
found = linear_backward(tanh_backward(dpooled, *middle)[0], *first)
print("dcls:", lab.agree(by_hand=dcls, numeric=numeric, library=found[0]))
print("dWp: ", lab.agree(by_hand=dWp, library=found[1]))
lab.matrices(pooled=pooled, dpooled=dpooled, dz=dz, dcls=dcls)

# %% spread
out = model(long, next_sentence_label=[1], output_hidden_states=True)
for state in out.hidden_states:
    state.retain_grad()
out.loss.backward()
strength = np.stack([np.linalg.norm(s.grad[0], axis=-1) for s in out.hidden_states[::-1]])
print("positions that get a gradient, from the top:", (strength > 1e-12).sum(axis=1))
figure, axes = lab.figure(width=5.4, height=2.0)
strength /= strength.max(axis=1, keepdims=True)
image = axes.imshow(strength, cmap="Blues", aspect="auto")
axes.set(title="It enters at [CLS], and attention spreads it", xlabel="position",
         yticks=range(3), yticklabels=["layer 2", "layer 1", "embeddings"])
axes.grid(False)
figure.colorbar(image, label="length, of the row's longest")
figure

# %% padding
def read(length, where):
    """One sentence, padded to `length`, and the vector of one of its positions."""
    ids = np.zeros((1, length), int)
    ids[0, :6] = [2, 11, 17, 8, 23, 3]                           # [CLS] ... [SEP]
    mask = (np.arange(length) < 6)[None].astype(int)
    return model(ids, attention_mask=mask).last_hidden_state.data[0, where]


print("[CLS]:        ", lab.agree(padded_to_8=read(8, 0), padded_to_10=read(10, 0)))
print("last position: the same?", bool(np.allclose(read(8, -1), read(10, -1))))

# %% pairs
documents = [[np.array([10 * d + i]) for i in range(1, 6)] for d in (1, 2, 3, 4)]
for pair in make_pairs(documents, max_length=8, seed=7, epoch=0, short_pairs=0.0):
    print("A", *pair.a, " B", *pair.b, " label", pair.label)

# %% two-losses
fresh = BertForPreTraining(BertConfig(
    vocab_size=V, hidden_size=H, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=2 * H, max_position_embeddings=T), seed=7, dtype=np.float64).eval()
out = fresh(ids, labels=labels, next_sentence_label=[0, 1, 1, 0])
print(f"masked words:  {out.masked_lm_loss.item():.2f}, and ln {V} is {np.log(V):.2f}")
print(f"next sentence: {out.next_sentence_loss.item():.2f}, and ln 2 is {np.log(2):.2f}")
total = out.masked_lm_loss.item() + out.next_sentence_loss.item()
print(lab.agree(sum_of_both=total, loss=out.loss))

# %% progress
lab.progress(7)
