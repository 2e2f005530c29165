"""The code of notebook 11; its text is in en/11_debugging.md."""

# %% setup
import numpy as np

from minibert import Tensor, lab
from minibert import functional as F
from minibert.debug import bisect, blame, card, check, check_op, doctor, step, why
from minibert.lab.bugs import curve, planted
from minibert.lab.drawing import BLUE, GREEN, GREY, RED, heat
from minibert.lab.patient import Patient
from minibert.ops.attention import attention, attention_backward
from minibert.ops.elementwise import log, log_backward, multiply, multiply_backward
from minibert.ops.linear import linear, linear_backward, matmul, matmul_backward
from minibert.ops.loss import cross_entropy, cross_entropy_backward
from minibert.ops.softmax import softmax_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(11)

# %% patient
patient = Patient.healthy()
model, batch, word = patient.model, patient.batch, patient.tokenizer.token
loss = patient.loss()
for row in batch["input_ids"][:2]:
    print(*(word(int(i)) for i in row))
print(batch["input_ids"].shape, "tokens, to guess:", (batch["labels"] >= 0).sum(),
      " loss:", round(loss.item(), 3))

# %% debugger-program
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """from minibert.lab.patient import Patient
patient = Patient.healthy()
loss = patient.loss()
loss.backward()
"""

# %% debugger
def at_a_terminal(folder, *commands):
    """Run the program under pdb, type these commands, and return what is on the screen."""
    Path(folder, "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "pdb", "program.py"], cwd=folder,
                          input="\n".join([*commands, "quit", ""]), capture_output=True,
                          encoding="utf-8")
    answers = done.stdout.split("(Pdb) ")
    screen = "".join(f"(Pdb) {typed}\n{said}" for typed, said in zip(commands, answers[1:]))
    screen = re.sub(r"[^\s<]*[/\\](?=minibert[/\\]|program\.py)", "", screen)  # short
    screen = re.sub(r"\(\d+\)(?=[\w<])", " ", screen)                          # no lines
    return re.sub(r"(?<=\.py):\d+", "", screen).rstrip()

# %% debugger-session
folder = tempfile.TemporaryDirectory()
print(at_a_terminal(
    folder.name, "import minibert.ops.attention",
    "tbreak minibert.ops.attention.attention_backward", "continue",
    "p dcontext.shape, probs.shape", "next", "next", "p dprobs[0, 0, 1, :4].round(4)",
    "next", "next", "next", "p dscores[0, 0, 1, :4].round(5)",
    "import numpy; numpy.savez('caught.npz', p=probs, dc=dcontext, v=v, ds=dscores)",
    "up", "p node", "next", "p [dx.shape for dx in gradients]"))

# %% debugger-caught
caught = np.load(Path(folder.name, "caught.npz"))
probs, dcontext, v, dscores = (caught[name][0, 0] for name in caught.files)    # one head
dprobs = dcontext @ v.T                                                     # (3')
by_hand = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))   # (2')
print(lab.agree(by_hand=by_hand, caught_in_pdb=dscores))
figure, axes = lab.figure(1, 3, height=2.7)
kept = {"probs": probs, "dprobs": dprobs, "dscores": dscores}
for one, (name, x) in zip(axes, kept.items()):
    heat(one, x)
    one.set(title=name, xlabel="key")
axes[0].set_ylabel("query")
figure.suptitle("Caught: a gradient comes to query 0, and where a label is", fontsize=10)
figure

# %% debugger-2x3
q, k, v = (rng.standard_normal(shape) for shape in ((2, 4), (3, 4), (3, 2)))
dcontext = np.array([[1.0, -0.5], [0.3, 2.0]])
y, saved = attention(q[None, None], k[None, None], v[None, None])
probs = saved[3][0, 0]                                          # 2 x 3
dprobs = dcontext @ v.T
dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
numeric = lab.numeric_gradient(
    lambda q: (attention(q[None, None], *saved[1:3])[0] * dcontext).sum(), q)
library = attention_backward(dcontext[None, None], *saved)[0][0, 0]
print("dscores:", lab.agree(by_hand=dscores, notebook_4=softmax_backward(dprobs, probs)[0]))
print("dq:", lab.agree(by_hand=dscores @ k / 2, numeric=numeric, library=library))

# %% step
walk = step(loss)
event = walk.until("backward attention", layer=1)
print(len(walk), "stops:", len(walk) // 2, "operations forward, and back again")
print(event)

# %% step-check
report = walk.check()
for row in report.rows:
    print(f"{row.name:2} analytic {row.analytic:+.6f}  numeric {row.numeric:+.6f}")

# %% step-figure
events = list(walk)
forward, backward = (np.array([e.norm for e in events if e.phase == phase])
                     for phase in ("forward", "backward"))
figure, (left, right) = lab.figure(1, 2)
left.semilogy(forward, ".-", color=BLUE)
left.set(title="Values on the way to the loss", xlabel="operation", ylabel="norm of result")
right.semilogy(backward, ".-", color=RED)
for number, e in enumerate(e for e in events if e.phase == "backward"):
    if e.node.op.name == "attention":
        right.axvline(number, color=GREY, linestyle="--", linewidth=1)
right.set(title="Gradients on the way back", xlabel="stop (dashed: an attention)",
          ylabel="largest norm at the stop")
figure

# %% terms
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])                  # two tokens of width 3
W = np.array([[0.2, -0.4, 1.0], [0.7, 0.1, -0.5]])                  # to width 2
dy = np.array([[1.0, -0.5], [0.3, 2.0]])
terms = np.einsum("no,ni->noi", dy, x)                          # one 2 x 3 for each token
numeric = lab.numeric_gradient(lambda W: (x @ W.T * dy).sum(), W)
library = linear_backward(dy, *linear(x, W)[1])[1]
print("dW:", lab.agree(sum_of_terms=terms.sum(axis=0), numeric=numeric, library=library))
lab.matrices(from_token_0=terms[0], from_token_1=terms[1], dW=library)

# %% product
a = np.array([[1.0, -2.0, 0.5], [0.3, 0.8, -1.0]])
dS = np.array([[0.4, -1.0], [0.6, 0.2]])
as_query, as_key = dS @ a, dS.T @ a                                 # S = a a^T
numeric = lab.numeric_gradient(lambda a: (a @ a.T * dS).sum(), a)
first, second = matmul_backward(dS, *matmul(a, a, False, True)[1])
print("da:", lab.agree(both=as_query + as_key, numeric=numeric, library=first + second))
A = Tensor(a, requires_grad=True, name="a")
answer = why(A[1, 2], (F.matmul(A, A, tb=True) * dS).sum())
uses = answer.by("use")
print(uses)
print(lab.agree(by_hand=sorted([as_query[1, 2], as_key[1, 2]]), why=sorted(uses.values)))

# %% exercise-uses
lab.answer("11.1", ...)

# %% why-entry
and_id = int(patient.tokenizer.ids(["and"])[0][0])
table = model.bert.embeddings.word_embeddings.weight
loss.backward()                                      # from here on why() knows which loss
answer = why(table[and_id, 3], word=word)
print(answer)
names = ("use", "position", "token", "segment")
sums = {f"by_{name}": answer.by(name).values.sum() for name in names}
print(lab.agree(grad=table.grad[and_id, 3], **sums))

# %% why-tree
print(answer.tree(depth=2, top=2))

# %% why-figure
lookup, head = sorted(answer.by("use"), key=lambda term: "lookup" not in term.label)
figure, (left, right) = lab.figure(1, 2, height=2.9)
for axes, term, title in ((left, lookup, "through the lookup at the input"),
                          (right, head, "through the output layer")):
    rows, columns, share = term.by("example", "position").grid()
    picture = np.zeros(batch["input_ids"].shape)
    picture[np.ix_(rows, columns)] = share
    heat(axes, picture, numbers=False)
    axes.set(title=title, xlabel="position", ylabel="example", aspect="auto")
    axes.plot(*(batch["input_ids"] == and_id).nonzero()[::-1], "k.", markersize=4)
figure.suptitle(f"d loss / d E[{word(and_id)}, 3]; dots: where it stands", fontsize=10)
figure

# %% why-alone
alone = []
for row in range(len(batch["labels"])):                  # the loss of one example's labels
    only = {name: array.copy() for name, array in batch.items()}
    for name in ("labels", "next_sentence_label"):
        only[name][np.arange(9) != row] = -100
    model.zero_grad()
    model(**only, masked_count=27, pair_count=9).loss.backward()
    alone.append(table.grad[and_id, 3])
model.zero_grad()
print(lab.agree(by_example=answer.by("example").values, one_backward_each=alone))

# %% budget
eps = np.finfo(np.float64).eps / 2                       # of one rounding: 2^-53
steps = 10.0 ** np.arange(-13, 0.1, 0.25)


def budget(h, value, third):
    """How far off a central difference may be: what is cut off, and what is rounded off."""
    return h**2 * abs(third) / 6 + eps * abs(value) / h


point = 0.7
value = third = np.exp(point)
best = (3 * eps * value / third) ** (1 / 3)
slope = lab.numeric_gradient(lambda h: budget(h[0], value, third), np.array([best]), h=1e-9)
by_hand = best * third / 3 - eps * value / best**2
print(f"best step {best:.1e}, error there at most {budget(best, value, third):.1e}")
print("slope of the budget there:", lab.agree(by_hand=[by_hand], numeric=slope, zero=[0.0]))

# %% budget-figure
def errors(f, true):
    """Of one-sided, central and extrapolated differences at 0, for each step."""
    one = (f(steps) - f(0.0)) / steps
    central = (f(steps) - f(-steps)) / (2 * steps)
    double = (f(2 * steps) - f(-2 * steps)) / (4 * steps)
    return [np.abs(d - true) for d in (one, central, (4 * central - double) / 3)]


figure, axes = lab.figure(width=6.0, height=3.2)
found = errors(lambda h: np.exp(point + h), value)
colours = {"one-sided": GREY, "central": BLUE, "extrapolated": GREEN}
for error, (name, colour) in zip(found, colours.items()):
    axes.loglog(steps, error, ".", color=colour, label=name)
axes.loglog(steps, budget(steps, value, third), color=BLUE, label="budget of central")
axes.axvline(best, color=RED, linestyle="--", linewidth=1, label="its best step")
axes.set(title="Between truncation and round-off", xlabel="step h", ylabel="error of slope")
axes.set_ylim(1e-15, 10)
axes.legend(frameon=False, fontsize=8)
figure

# %% budget-live
weight = model.cls.predictions.transform.dense.weight
patient.loss().backward()
true, start = weight.grad[2, 5], weight.data.copy()
model.zero_grad()


def loss_at(h):
    moved = start.copy()
    moved[2, 5] += h
    weight.assign(moved)
    return patient.loss().item()


L = {k: loss_at(0.05 * k) for k in range(-2, 3)}
third_live = (L[2] - 2 * L[1] + 2 * L[-1] - L[-2]) / (2 * 0.05**3)
central = np.array([(loss_at(h) - loss_at(-h)) / (2 * h) for h in steps])
weight.assign(start)
within = np.abs(central - true) <= 50 * budget(steps, L[0], third_live)
print("within 50 budgets at every step:", bool(within.all()))

# %% budget-live-figure
figure, axes = lab.figure(width=6.0, height=2.8)
axes.loglog(steps, np.abs(central - true), ".", color=BLUE, label="measured on the BERT")
axes.loglog(steps, budget(steps, L[0], third_live), color=BLUE, label="the budget")
axes.set(title="The same valley, for a weight of the patient", xlabel="step h",
         ylabel="error of the slope")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-step
lab.answer("11.2", ...)

# %% check
loss = patient.loss()                                    # weights were moved: a new graph
pair = check(loss.node, directions=2)                    # the last operation of the graph
entry = check(loss, at=table, index=(and_id, 3))         # one number, through all 43
for row in (*pair.rows, *entry.rows):
    print(row.input, row.along, f"{row.analytic:+.6f} {row.slope.value:+.6f}", row.verdict)

# %% direction
z = rng.standard_normal((2, 3))
dx = sum(multiply_backward(np.ones((2, 3)), *multiply(z, z)[1]))     # of the sum of z^2
direction = rng.choice([-1.0, 1.0], (2, 3)) * rng.uniform(0.5, 1.5, (2, 3))
along = lab.numeric_gradient(lambda t: ((z + t * direction)**2).sum(), np.array(0.0))
numeric = lab.numeric_gradient(lambda z: (z * z).sum(), z)
print(lab.agree(by_hand=2 * z, library=dx, numeric=numeric))
print(lab.agree(one_slope=along, six_slopes_weighted=(numeric * direction).sum()))
wrong = dx.copy()
wrong[1, 2] *= 0.9
print("one number off by a tenth:", round((wrong * direction).sum() - float(along), 4))

# %% bisect
def forgot_the_mean(dcontext, q, k, v, probs):
    """Attention, backward, without the sum in (2')."""
    dscores = probs * (dcontext @ v.swapaxes(-1, -2)) * q.shape[-1] ** -0.5
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, probs.swapaxes(-1, -2) @ dcontext


three = {name: array[:3] for name, array in batch.items()}
with lab.swapped("attention", forgot_the_mean, given=("q", "k", "v", "probs")):
    sick = model(**three).loss                   # its graph remembers the wrong backward
found = bisect(sick, model)
print(found.headline)
print(*found.details[:2], sep="\n")
print([(row.input, row.verdict) for row in found.evidence.rows])

# %% bisect-figure
healthy = model(**three).loss
right, wrong = ([e for e in step(y) if e.phase == "backward"] for y in (healthy, sick))
came_in = [[e.values[0].array for e in events] for events in (right, wrong)]
off = [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in zip(*came_in)]
figure, axes = lab.figure(width=6.4)
axes.semilogy(np.maximum(off, 1e-17), ".-", color=RED)
for number, e in enumerate(right):
    if e.node.op.name == "attention":
        axes.axvline(number, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(e.node.module.removeprefix("bert.encoder."), (number, 1e-12), (4, 0),
                      textcoords="offset points", fontsize=7, color=GREY)
axes.set(title="Right down to the second layer's attention, and wrong from there on",
         xlabel="stop of the backward pass", ylabel="relative error of what comes in")
figure

# %% nan-by-hand
p = np.array([[0.5, 0.5, 0.0], [0.2, 0.7, 0.1]])                 # one probability is 0
dh = np.array([[1.0, -0.5, 0.3], [0.4, 2.0, -1.0]])              # what comes in
inside = np.where(p > 0, p, 1.0)
h, saved = multiply(p, log(inside)[0])                           # p ln p, and 0 at 0
dp, dlog = multiply_backward(dh, *saved)
good = dp + np.where(p > 0, log_backward(dlog, inside)[0], 0.0)
numeric = lab.numeric_gradient(lambda p: (p * np.log(p) * dh)[p > 0].sum(), inside)
by_hand = np.where(p > 0, dh * (np.log(inside) + 1), 0)
print(lab.agree(by_hand=by_hand, library=good, numeric=np.where(p > 0, numeric, 0)))
with np.errstate(all="ignore"):
    outside = np.where(p > 0, dp, 0) + log_backward(np.where(p > 0, dlog, 0), p)[0]
print(outside)
lab.matrices(p=p, good=good)

# %% nan-blame
with np.errstate(all="ignore"):
    P = Tensor(p, requires_grad=True, name="P")
    entropy = F.where(p > 0, P * F.log(P), Tensor(np.zeros((2, 3)))).sum()
    print("forward: ", round(entropy.item(), 4))
    entropy.backward()
print("backward:", *P.grad)
print(blame(entropy))

# %% nan-planted
attend = model.bert.encoder.layer[1].attention.self
before = [(p, p.data.copy()) for p in (attend.query.weight, attend.key.weight)]
for p, numbers in before:
    p.assign(numbers * 1e155)                            # as after a step far too long
with np.errstate(all="ignore"):
    burst = patient.loss()
    forward = [e for e in step(burst) if e.phase == "forward"]
    share = [1 - np.isfinite(e.values[-1].array).mean() for e in forward]
    report = blame(burst)
for p, numbers in before:
    p.assign(numbers)
print("loss:", burst.item())
print(report.title)
print(report.cause.replace("; ", ";\n"))

# %% nan-figure
figure, axes = lab.figure(width=6.8, height=2.8)
axes.bar(range(len(share)), share, color=RED)
names = [e.node.op.name for e in forward]
axes.set_xticks(range(len(share)), names, rotation=90, fontsize=6)
axes.set(title="Fine as far as the scores of the second layer, and nothing after them",
         ylabel="share that is not finite", xlabel="operation, in forward order")
figure

# %% chance
logits, labels = np.zeros((2, 3)), np.array([2, 0])              # knows nothing: all alike
value, saved = cross_entropy(logits, labels)
dlogits, = cross_entropy_backward(np.array(1.0), *saved)
by_hand = (np.full((2, 3), 1 / 3) - np.eye(3)[labels]) / 2
numeric = lab.numeric_gradient(lambda z: cross_entropy(z, labels)[0], logits)
print("loss:   ", lab.agree(by_hand=np.log(3), library=value))
print("dlogits:", lab.agree(by_hand=by_hand, library=dlogits, numeric=numeric))
lab.matrices(logits=logits, dlogits=dlogits)

# %% chance-figure
scales, levels = 2.0 ** np.arange(-6, 2), []
V = patient.tokenizer.vocab_size
for scale in scales:
    fresh = Patient.healthy()
    for name, p in fresh.model.named_parameters():
        if p.ndim == 2:
            p.assign(scale * np.random.default_rng(3).standard_normal(p.shape))
    levels.append(fresh.model(**fresh.batch).masked_lm_loss.item())
figure, axes = lab.figure(width=5.6)
axes.loglog(scales, levels, "o-", color=BLUE, base=2)
axes.axhline(np.log(V), color=GREY, linestyle="--", label=f"ln {V} = {np.log(V):.2f}")
axes.set(title="An untrained model that is worse than chance is too sure of itself",
         xlabel="standard deviation of the initial weights", ylabel="masked loss, nats")
axes.legend(frameon=False, fontsize=8)
figure

# %% doctor
print(doctor(model, batch))

# %% card
card("layer_norm")

# %% curves
curves = {number: curve(number, steps=30) for number in range(13)}
end = {number: np.mean(losses[-8:]) for number, losses in curves.items()}
same = [number for number in range(1, 13) if abs(end[number] - end[0]) < 0.05]
print(len(same), "of 12 bugs end within 0.05 nats of the healthy model")

# %% curves-figure
figure, grid = lab.figure(3, 4, height=1.45, sharex=True, sharey=True)
for number, axes in enumerate(grid.ravel(), start=1):
    axes.plot(curves[0], color=GREY, linewidth=4, alpha=0.35)
    axes.plot(curves[number], color=BLUE if number in same else RED, linewidth=1.2)
    axes.set_title(f"bug {number}", fontsize=9)
grid[2, 0].set_xlabel("step")
grid[1, 0].set_ylabel("loss, nats")
figure.suptitle("Grey: without a bug. Blue: a bug that the loss does not show", fontsize=10)
figure

# %% bug-1
with planted(1) as sick:
    ...                                     # sick.model, sick.batch, sick.loss()
lab.answer("11.3", ...)

# %% bug-2
with planted(2) as sick:
    ...
lab.answer("11.4", ...)

# %% bug-3
with planted(3) as sick:
    ...
lab.answer("11.5", ...)

# %% bug-4
with planted(4) as sick:
    ...
lab.answer("11.6", ...)

# %% bug-5
with planted(5) as sick:
    ...
lab.answer("11.7", ...)

# %% bug-6
with planted(6) as sick:
    ...
lab.answer("11.8", ...)

# %% bug-7
with planted(7) as sick:
    ...
lab.answer("11.9", ...)

# %% bug-8
with planted(8) as sick:
    ...
lab.answer("11.10", ...)

# %% bug-9
with planted(9) as sick:
    ...                                     # sick.batches, sick.documents, sick.tokenizer
lab.answer("11.11", ...)

# %% bug-10
with planted(10) as sick:
    ...                                     # sick.gradients(model, batch)
lab.answer("11.12", ...)

# %% bug-11
with planted(11) as sick:
    ...
lab.answer("11.13", ...)

# %% bug-12
with planted(12) as sick:
    ...
lab.answer("11.14", ...)

# %% broken
def broken(dy, xhat, rstd, gamma):
    """Layer normalisation, backward: something is missing."""
    dxhat = dy * gamma
    dx = rstd * (dxhat - dxhat.mean(axis=-1, keepdims=True))
    rows = dy.reshape(-1, dy.shape[-1])
    return dx, (rows * xhat.reshape(rows.shape)).sum(axis=0), rows.sum(axis=0)


x = rng.standard_normal((2, 3))
report = check_op("layer_norm", x, np.array([1.0, 0.5, 2.0]), np.zeros(3), backward=broken)
print({row.name: "ok" if row.ok else "WRONG" for row in report.rows})
training = lab.train_with("layer_norm", broken)
print(training)
training.figure()

# %% exercise-repair
@lab.answer("11.15")
def my_layer_norm_backward(dy, xhat, rstd, gamma):
    """dy (..., H)  ->  dx (..., H), dgamma (H,), dbeta (H,)"""
    ...

# %% progress
lab.progress(11)
