"""The code of notebook 12; its text is in en/12_gpu.md."""

# %% setup
import math
from importlib.resources import files

import numpy as np
from IPython.display import HTML

from minibert import BertConfig, BertForPreTraining, Tensor, lab
from minibert import functional as F
from minibert.backend import array_module, choose_device, device_of, to_device, to_host
from minibert.debug import ledger
from minibert.lab.drawing import BLUE, GREEN, GREY, RED, heat
from minibert.ops.activation import gelu, gelu_backward
from minibert.ops.add_norm import add_norm, add_norm_backward
from minibert.ops.dropout import DropoutKey, dropout, dropout_backward, keep_mask
from minibert.ops.linear import matmul, matmul_backward

np.set_printoptions(precision=4, suppress=True)
rng = np.random.default_rng(12)

# %% device
device = choose_device("auto")                   # "cuda" where one can be used, or "cpu"
here = ["cpu"] if device == "cpu" else ["cpu", "cuda"]
HTML("This machine has no GPU that CuPy can use, so everything here runs on its CPU."
     if device == "cpu" else "This machine has a GPU: what follows runs on both.")

# %% seam
def tanh_of_a_sum(x):
    """A formula that does not know where its numbers are."""
    xp = array_module(x)                             # numpy, or cupy
    return xp.tanh(x.sum(axis=-1))


x = np.array([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]])
for name in here:
    there = to_device(x, name)
    y = tanh_of_a_sum(there)
    assert device_of(y) == name                      # the result is where the numbers were
    back = to_host(y)
print(back)

# %% step-both
config = BertConfig(vocab_size=61, hidden_size=24, num_hidden_layers=2,
                    num_attention_heads=3, intermediate_size=48, max_position_embeddings=20,
                    initializer_range=0.3)
ids = rng.integers(5, 61, (6, 17))
batch = {"input_ids": ids, "labels": np.where(rng.random(ids.shape) < 0.2, ids, -100),
         "next_sentence_label": np.arange(6) % 2}


def gradients(device, dtype):
    """The loss of one step, with dropout, and the gradient of every parameter."""
    model = BertForPreTraining(config, seed=1, dtype=dtype, device=device).train()
    model.bert.dropout_stream.seek(7)
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), {n: to_host(p.grad) for n, p in model.named_parameters()}


exact_loss, exact = gradients("cpu", np.float64)
found = {name: gradients(name, np.float32) for name in here}
print(f"loss {exact_loss:.4f}, {len(exact)} gradients")

# %% step-figure
def distance(mine):
    """How far each gradient is from float64's, relative to its largest number."""
    return [np.abs(mine[name] - dx).max() / max(np.abs(dx).max(), 1e-3)
            for name, dx in exact.items()]


figure, axes = lab.figure(width=6.6)
for (name, (loss, mine)), colour in zip(found.items(), (BLUE, GREEN)):
    assert abs(loss - exact_loss) < 1e-4 and max(distance(mine)) < 1e-3
    axes.semilogy(distance(mine), ".", color=colour, label=f"float32 on {name}")
axes.axhline(2.0**-24, color=GREY, linestyle="--", linewidth=1, label="one rounding, 2^-24")
axes.set(title="The same step in float32: every gradient, beside that in float64",
         xlabel="parameter", ylabel="largest difference")
axes.legend(frameon=False, fontsize=8)
print("the loss and all gradients agree to 1e-3 on every device of this machine")
figure

# %% kernel-source
def excerpt(file, begin, end):
    """A part of one of the package's CUDA sources."""
    folder = files("minibert.ops.cuda").joinpath("kernels")
    text = folder.joinpath(file).read_text(encoding="utf-8")
    return text[text.index(begin):].partition(end)[0] + end


print(excerpt("common.cu", "#define FOR_EACH", "blockDim.x)\n"))
print(excerpt("activation.cu", 'extern "C" __global__ void gelu(', "\n}\n"))

# %% kernel-by-hand
def gelu_kernel(block, thread, blocks, threads, x, y, cdf, n):
    """What one thread does: its numbers, and nobody else's."""
    for i in range(block * threads + thread, n, blocks * threads):         # FOR_EACH
        cdf[i] = 0.5 * (1.0 + math.erf(x[i] / math.sqrt(2.0)))             # (1)
        y[i] = x[i] * cdf[i]                                               # (2)


def launch(kernel, blocks, threads, *arrays):
    """A GPU runs them at once; here one after the other, and the blocks in any order."""
    for block in np.random.default_rng(0).permutation(blocks):
        for thread in range(threads):
            kernel(int(block), thread, blocks, threads, *arrays)


flat = x.reshape(-1)                                 # an address and a length: no shape
y, cdf = np.full(6, np.nan), np.full(6, np.nan)      # memory that nobody has written
launch(gelu_kernel, 2, 2, flat, y, cdf, 6)
print(y.reshape(2, 3))

# %% kernel-backward
def gelu_backward_kernel(block, thread, blocks, threads, dy, x, cdf, dx, n):
    """(2') and (1') for the numbers of one thread."""
    for i in range(block * threads + thread, n, blocks * threads):
        pdf = math.exp(-x[i] * x[i] / 2.0) / math.sqrt(2.0 * math.pi)      # (1')
        dx[i] = dy[i] * (cdf[i] + x[i] * pdf)                              # (2')


dy = np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0]])
dx = np.full(6, np.nan)
launch(gelu_backward_kernel, 2, 2, dy.reshape(-1), flat, cdf, dx, 6)
library, saved = gelu(x)
numeric = lab.numeric_gradient(lambda x: (gelu(x)[0] * dy).sum(), x)
print("y: ", lab.agree(kernel=y.reshape(2, 3), library=library))
print("dx:", lab.agree(kernel=dx.reshape(2, 3), library=gelu_backward(dy, *saved)[0],
                       numeric=numeric))

# %% kernel-figure
def owners(block, thread, blocks, threads, whose, n):
    for i in range(block * threads + thread, n, blocks * threads):
        whose[i] = block * threads + thread


whose = np.full(22, -1)
launch(owners, 2, 4, whose, 22)
figure, axes = lab.figure(width=7.0, height=1.5)
axes.imshow(whose[None], cmap="Paired", vmin=0, vmax=11, aspect=1.6)
for i, owner in enumerate(whose):
    axes.text(i, 0, f"{owner // 4}:{owner % 4}", ha="center", va="center", fontsize=7)
axes.set(title="22 numbers, 2 blocks of 4 threads: who computes which (block:thread)",
         xlabel="number i", xticks=range(0, 22, 2), yticks=[])
axes.grid(False)
figure

# %% exercise-thread
lab.answer("12.1", ...)                              # for example [1, 2, 3]

# %% tree
def tree(v):
    """A sum in which every lane adds its partner's number, half as far away each time."""
    steps, lanes = [v], len(v) // 2
    while lanes:
        steps.append(steps[-1] + steps[-1][np.arange(len(v)) ^ lanes])    # __shfl_xor_sync
        lanes //= 2
    return np.array(steps)


warp = rng.integers(-9, 10, 32).astype(float)
steps = tree(warp)
print(len(steps) - 1, "steps; every lane holds", set(steps[-1].tolist()))
print(lab.agree(tree=steps[-1, 0], sum=warp.sum()))

# %% tree-figure
figure, axes = lab.figure(width=7.2, height=2.1)
heat(axes, tree(warp[:16]), numbers=False)
for (i, j), number in np.ndenumerate(tree(warp[:16])):
    axes.text(j, i, f"{number:.0f}", ha="center", va="center", fontsize=8,
              color="white" if abs(number) > 14 else "black")
axes.set(title="Sixteen lanes: four additions, and everybody knows the sum",
         xlabel="lane", ylabel="after step", xticks=range(16), yticks=range(5))
figure

# %% tree-rounding
def in_order(v):
    """The same sum, one number after the other, in float32."""
    return np.cumsum(v, axis=0, dtype=np.float32)[-1]


sizes, bad, good = 2 ** np.arange(3, 15), [], []
for n in sizes:
    many = rng.uniform(0, 1, (n, 100)).astype(np.float32)
    true = many.sum(axis=0, dtype=np.float64)
    folded = many
    while len(folded) > 1:
        folded = folded[:len(folded) // 2] + folded[len(folded) // 2:]
    bad.append(np.abs(in_order(many) / true - 1).mean())
    good.append(np.abs(folded[0] / true - 1).mean())
within = np.array(good) <= np.log2(sizes) * 2.0**-24
print("a tree stays within log2(n) roundings:", bool(within.all()))

# %% tree-rounding-figure
figure, axes = lab.figure(width=5.8)
axes.loglog(sizes, bad, "o-", color=RED, label="one after the other", base=2)
axes.loglog(sizes, good, "o-", color=BLUE, label="as a tree", base=2)
axes.loglog(sizes, np.log2(sizes) * 2.0**-24, color=BLUE, linestyle="--", linewidth=1,
            label="bound of a tree, log2(n) u", base=2)
axes.set(title="A tree is not only faster, it also rounds less",
         xlabel="numbers added up, float32", ylabel="mean relative error")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-strided
@lab.answer("12.2")
def my_partial_sums(x, threads):
    """x (n,), a row; threads: how many  ->  (threads,), what each thread has added up"""
    ...

# %% exercise-tree
@lab.answer("12.3")
def my_tree(v):
    """v (n,), n a power of 2  ->  (log2(n), n): what every lane holds after each step"""
    ...

# %% row-kernel
def block_sum(partial):
    return tree(partial)[-1, 0]


def add_norm_block(h, x, gamma, beta, threads=4, eps=1e-12):
    """One block: its threads stride over one row, and meet in three sums."""
    d, total, squares = len(x), np.zeros(threads), np.zeros(threads)
    s, mine = np.empty(d), [range(t, d, threads) for t in range(threads)]
    for t in range(threads):
        for i in mine[t]:
            s[i] = x[i] + h[i]                                             # (1)
            total[t] += s[i]
    mean = block_sum(total) / d
    for t in range(threads):
        for i in mine[t]:
            squares[t] += (s[i] - mean) ** 2
    rstd = 1.0 / math.sqrt(block_sum(squares) / d + eps)
    return (s - mean) * rstd * gamma + beta                                # (2)

# %% row-kernel-use
h = np.array([[0.2, 0.4, -0.6], [-1.1, 0.5, 0.9]])
gamma, beta = np.array([1.0, 0.5, 2.0]), np.array([0.1, 0.0, -0.2])
blocks = np.stack([add_norm_block(h[row], x[row], gamma, beta) for row in range(2)])
y, saved = add_norm(h, x, gamma, beta)
print("y: ", lab.agree(blocks=blocks, library=y))
xhat, rstd = saved[:2]
dxhat = dy * gamma
shift = [[tree(np.append(row, 0.0))[-1, 0] / 3] for row in dxhat]
scale = [[tree(np.append(row, 0.0))[-1, 0] / 3] for row in dxhat * xhat]
ds = rstd * (dxhat - shift - xhat * scale)                                 # (2')
numeric = lab.numeric_gradient(lambda x: (add_norm(h, x, gamma, beta)[0] * dy).sum(), x)
dh, dx = add_norm_backward(dy, *saved)[:2]
print("dx:", lab.agree(by_hand=ds, library=dx, numeric=numeric))
print("dh:", lab.agree(by_hand=ds, library=dh))                            # (1')
lab.matrices(dy=dy, dxhat=dxhat, dx=dx)

# %% intensity-by-hand
a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 4))
operations = sum(2 for n in range(2) for m in range(4) for k in range(3))  # product, sum
numbers = a.size + b.size + 2 * 4                    # read both, write the result
print(operations, "operations,", numbers, "numbers:",
      round(operations / (4 * numbers), 2), "operations a byte in float32")
y, saved = matmul(a, b)
dY = rng.standard_normal(y.shape)
da, db = matmul_backward(dY, *saved)                 # two products: twice as many
print("da:", lab.agree(notebook_1=dY @ b.T, library=da,
                       numeric=lab.numeric_gradient(lambda a: (a @ b * dY).sum(), a)))
print("db:", lab.agree(notebook_1=a.T @ dY, library=db,
                       numeric=lab.numeric_gradient(lambda b: (a @ b * dY).sum(), b)))

# %% count
base = BertConfig(vocab_size=2000, hidden_size=768, num_hidden_layers=1,
                  num_attention_heads=12, intermediate_size=3072,
                  max_position_embeddings=128)
model = BertForPreTraining(base).train()
ids = rng.integers(5, 2000, (4, 128))
labels = np.where(np.arange(128) % 7 == 3, ids, -100)
counted = ledger(model(ids, labels=labels).loss, by="node")
seen = set()
for e in counted.entries:                            # each kind of operation once
    if "layer.0" in e.name and (e.node.op.name, e.node.shape) not in seen:
        seen.add((e.node.op.name, e.node.shape))
        print(f"{e.node.op.name:12} {e.cost.flops / 1e9:6.2f} GFLOP"
              f" {e.cost.moved / 1e6:6.1f} MB {e.cost.flops / e.cost.moved:6.1f} FLOP/B")
few = sum(e.cost.flops == 0 for e in counted.entries)
print(few, "of", len(counted.entries), "operations have no matrix product")

# %% roofline
GPUS = {"H100 SXM": (3.35e12, 67e12), "A100 80 GB": (2.04e12, 19.5e12),
        "T4": (0.32e12, 8.1e12)}                     # bytes, and operations, a second


def roof(intensity, bandwidth, peak):
    """Operations a second that a GPU can reach at best."""
    return np.minimum(peak, intensity * bandwidth)


for name, (bandwidth, peak) in GPUS.items():
    print(f"{name:10} from {peak / bandwidth:4.1f} operations a byte on, arithmetic limits")
slope = lab.numeric_gradient(lambda i: roof(i, *GPUS["H100 SXM"]), np.array(5.0)) / 1e12
flat_slope = lab.numeric_gradient(lambda i: roof(i, *GPUS["H100 SXM"]), np.array(50.0))
print(lab.agree(slope_below_the_ridge=slope, bandwidth=3.35),
      "| above it:", round(float(flat_slope), 3))

# %% roofline-groups
A_FEW = 10                                       # operations a number, if none is counted
places = {}                                      # intensity -> the operations that have it
for e in sorted(counted.entries, key=lambda e: e.cost.moved):
    work = e.cost.flops or A_FEW * math.prod(e.node.shape)
    if e.cost.moved > 1e6 and e.node.shape:      # the others are over in no time
        places[e.node.op.name] = work / e.cost.moved
groups = {}
for name, i in sorted(places.items(), key=lambda place: place[1]):
    groups.setdefault(round(2 * math.log2(i)) / 2, []).append(name)
for exponent, names in groups.items():
    print(f"{2**exponent:6.1f} operations a byte: {', '.join(sorted(names))}")

# %% roofline-figure
figure, axes = lab.figure(width=7.2, height=3.6)
intensity = 2.0 ** np.linspace(-3, 10, 200)
for (name, ceilings), style in zip(GPUS.items(), ("-", "--", ":")):
    axes.loglog(intensity, roof(intensity, *ceilings), style, color=GREY, label=name)
for number, (exponent, names) in enumerate(groups.items()):
    i, speed = 2.0**exponent, roof(2.0**exponent, *GPUS["H100 SXM"])
    axes.plot(i, speed, "o", color=RED if i < 20 else BLUE)
    low = i > 20 and number % 2                  # so that names do not meet
    axes.annotate(", ".join(sorted(names)), (i, speed), (6, -18 if low else -10),
                  fontsize=7, textcoords="offset points")
axes.set(title="Red: waits for memory. Blue: waits for arithmetic (on an H100)",
         xlabel="operations a byte", ylabel="operations a second, at best")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-ridge
lab.answer("12.4", ...)

# %% fused
def separate(h, x, gamma, beta, bias, p, key):
    """Bias, dropout, residual and normalisation as four operations."""
    return F.layer_norm(x + F.dropout(h + bias, p, key), gamma, beta)


def fused(h, x, gamma, beta, bias, p, key):
    return F.add_norm(h, x, gamma, beta, 1e-12, p, key, bias)


def counted_and_differentiated(make):
    """What an expression costs, and its gradients."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    y = make(*inputs, 0.1, DropoutKey(3, 0, 0))
    costs = [e.cost for e in ledger(y, by="node").entries]
    y.backward(weights)
    return costs, [t.grad for t in inputs]

# %% fused-use
def float32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


arrays = [float32(512, 768), float32(512, 768), float32(768), float32(768), float32(768)]
weights = float32(512, 768)
counts, grads = {}, {}
for make in (separate, fused):
    counts[make.__name__], grads[make.__name__] = counted_and_differentiated(make)
for name, one, other in zip(("h", "x", "gamma", "beta", "bias"), *grads.values()):
    print(f"d{name}:", lab.agree(separate=one, fused=other, tolerance=1e-4))
moved = {name: sum(cost.moved for cost in costs) for name, costs in counts.items()}
print(f"fused moves {moved['separate'] / moved['fused']:.2f} times fewer bytes:")
for name, size in moved.items():
    least = size / GPUS["H100 SXM"][0] * 1e6
    print(f"  {name:8} {size / 1e6:5.1f} MB, on an H100 at least {least:4.1f} us")

# %% fused-figure
names = {"separate": ("bias", "dropout", "residual", "norm"), "fused": ("add_norm",)}
figure, axes = lab.figure(width=6.0, height=2.2)
for row, (name, costs) in enumerate(counts.items()):
    left = 0.0
    for k, cost in enumerate(costs):
        size = cost.moved / 1e6
        colour = (BLUE, GREEN, GREY, RED)[k]
        axes.barh(row, size, left=left, color=colour, edgecolor="white")
        axes.text(left + size / 2, row, names[name][k], ha="center", va="center",
                  color="white", fontsize=8)
        left += size
axes.set(yticks=[0, 1], title="The same numbers, fewer journeys to memory",
         xlabel="moved, forward and backward, MB")
axes.set_yticklabels(counts)
figure

# %% exercise-bytes
lab.answer("12.5", ...)

# %% exercise-linear-gelu
@lab.answer("12.6")
def my_linear_gelu_backward(dy, x, weight, h, cdf):
    """dy, h, cdf (..., O), x (..., I), weight (O, I)  ->  dx, dweight, dbias"""
    ...

# %% philox
M0, M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157      # odd
K0, K1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B      # the golden ratio, sqrt(3) - 1
LOW = 2**64 - 1


def philox(block, step, seed, site, rounds=10):
    """Four words of 64 bits, from a counter (block, step) and a key (seed, site)."""
    c = [block + 1, step, 0, 0]                      # NumPy counts up before it draws
    for _ in range(rounds):
        p0, p1 = M0 * c[0], M1 * c[2]                # 128 bits each
        c = [p1 >> 64 ^ c[1] ^ seed, p1 & LOW, p0 >> 64 ^ c[3] ^ site, p0 & LOW]
        seed, site = seed + K0 & LOW, site + K1 & LOW
    return c


def keeps(place, p, seed, step, site):
    """Whether dropout keeps the number at this place of its array."""
    word = philox(place // 16, step, seed, site)[place % 16 // 4]
    return (word >> 16 * (place % 4) & 0xFFFF) >= round(p * 65536)

# %% philox-check
by_hand = np.array([keeps(i, 0.1, seed=42, step=7, site=3) for i in range(24)])
by_hand = by_hand.reshape(4, 6)
library = keep_mask((4, 6), 0.1, DropoutKey(seed=42, step=7, site=3))
print("bit for bit the library's:", np.array_equal(by_hand, library))
for name in here:                                # the same bits where a kernel draws them
    ones = to_device(np.ones((4, 6), np.float32), name)
    dropped = to_host(F.dropout(ones, 0.1, DropoutKey(42, 7, 3)).data)
    assert (dropped > 0).tolist() == by_hand.tolist()
half = keep_mask((2, 6), 0.1, DropoutKey(42, 7, 3, start=12))
print("the second half alone is that of the whole:", np.array_equal(half, by_hand[2:]))

# %% dropout-pair
keep = keep_mask((2, 3), 0.5, DropoutKey(1, 0, 0))
y, saved = dropout(x, 0.5, DropoutKey(1, 0, 0))
dx, = dropout_backward(dy, *saved)
numeric = lab.numeric_gradient(
    lambda x: (dropout(x, 0.5, DropoutKey(1, 0, 0))[0] * dy).sum(), x)
print("y: ", lab.agree(by_hand=x * keep / 0.5, library=y))
print("dx:", lab.agree(by_hand=dy * keep / 0.5, library=dx, numeric=numeric))
lab.matrices(x=x, keep=keep, y=y, dy=dy, dx=dx)

# %% philox-undo
def undo(c, seed, site):
    """One round backward: M is odd, so it has an inverse modulo 2^64."""
    c0, c2 = c[3] * pow(M0, -1, 2**64) & LOW, c[1] * pow(M1, -1, 2**64) & LOW
    return [c0, (M1 * c2 >> 64) ^ c[0] ^ seed, c2, (M0 * c0 >> 64) ^ c[2] ^ site]


print("one round, and back:", undo(philox(5, 7, 42, 3, rounds=1), 42, 3))

# %% philox-figure
differ = []
for rounds in range(11):
    flips = [philox(b, 7, 42, 3, rounds) for b in range(200)]
    others = [philox(b, 8, 42, 3, rounds) for b in range(200)]          # the next step
    differ.append(np.mean([sum((i ^ j).bit_count() for i, j in zip(*pair))
                           for pair in zip(flips, others)]))
figure, axes = lab.figure(width=5.6)
axes.plot(differ, "o-", color=BLUE)
axes.axhline(128, color=GREY, linestyle="--", label="half of 256")
axes.set(title="From one step to the next: unrelated after a few rounds",
         xlabel="rounds", ylabel="bits that differ, of 256")
axes.legend(frameon=False, fontsize=8)
figure

# %% bits
def rounded(x, bits):
    """float32 with so many bits after the point, to the nearest, ties to the even one."""
    drop = 23 - bits
    u = np.asarray(x, np.float32).view(np.uint32)
    u = u + np.uint32((1 << (drop - 1)) - 1) + (u >> np.uint32(drop) & np.uint32(1))
    return (u >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


third = np.array([1 / 3], np.float32)
for name, bits in (("float32", 23), ("TF32", 10), ("bfloat16", 7)):
    y = third if bits == 23 else rounded(third, bits)
    pattern = f"{y.view(np.uint32)[0]:032b}"
    print(f"{name:8} {pattern[0]} {pattern[1:9]} {pattern[9:9 + bits]:23} {y[0]:.7f}")

# %% bits-bound
numbers = rng.lognormal(0, 3, 100_000).astype(np.float32)
for name, bits in (("TF32", 10), ("bfloat16", 7)):
    off = np.abs(rounded(numbers, bits).astype(float) / numbers - 1)
    u = 2.0 ** -(bits + 1)
    assert off.max() <= u                            # never more
    print(f"{name:8} bound 2^-{bits + 1}, the worst of 100,000: {off.max() / u:.2f} of it")

# %% bits-figure
fine = np.linspace(1.8, 2.4, 4000).astype(np.float32)
figure, (left, right) = lab.figure(1, 2, height=2.8)
left.plot(fine, rounded(fine, 7) / fine - 1, color=BLUE, linewidth=0.6)
left.set(title="bfloat16: teeth twice as wide from 2 on", xlabel="x",
         ylabel="relative error")
sizes, largest = 2 ** np.arange(1, 13), {10: [], 7: []}
for k in sizes:
    a, b = rng.standard_normal((2, 200, k))
    for bits, errors in largest.items():
        exact = rounded(a, bits).astype(float) * rounded(b, bits) - a * b
        errors.append(np.abs(exact.sum(axis=1) / np.abs(a * b).sum(axis=1)).max())
for (bits, errors), colour in zip(largest.items(), (GREEN, BLUE)):
    right.loglog(sizes, errors, "o-", color=colour, markersize=3, base=2)
    right.axhline(2 * 2.0 ** -(bits + 1), color=colour, linestyle="--", linewidth=1)
right.set(title="Sums of k products (dashed: bound)", xlabel="k",
          ylabel="worst error / sum |a b|")
figure

# %% bits-backward
a, b, dY = (rng.standard_normal(shape) for shape in ((2, 3), (3, 4), (2, 4)))
exact, _ = matmul_backward(dY, *matmul(a, b)[1])
numeric = lab.numeric_gradient(lambda a: (a @ b * dY).sum(), a)
print("exact da:", lab.agree(library=exact, by_hand=dY @ b.T, numeric=numeric))
for name, bits in (("TF32", 10), ("bfloat16", 7)):
    da = rounded(dY, bits).astype(float) @ rounded(b, bits).T.astype(float)
    u = 2.0 ** -(bits + 1)
    bound = (2 * u + u**2) * np.abs(dY) @ np.abs(b).T
    print(f"{name:8} within the bound: {bool((np.abs(da - exact) <= bound).all())}, "
          f"at most {np.max(np.abs(da - exact) / bound):.2f} of it")

# %% exercise-round
@lab.answer("12.7")
def my_round(x, bits):
    """x to the nearest number with so many significant bits (bfloat16: 8), ties to even"""
    ...

# %% launches-imports
from unittest.mock import patch

from minibert.ops.cuda import launcher, products, twins
from minibert.ops.registry import TWINS

asked = []


def counting_gemm(a, b, ta=False, tb=False, alpha=1.0):
    asked.append("gemm")
    a, b = (x.swapaxes(-1, -2) if turned else x for x, turned in ((a, ta), (b, tb)))
    return alpha * (a @ b)

# %% launches
def launches(op, *args):
    """What the CUDA twin of an operation asks a GPU for, forward and backward."""
    with (patch.object(launcher, "kernel", lambda name: lambda *a: asked.append(name)),
          patch.object(launcher, "checked", lambda argument: argument),
          patch.object(products, "gemm", counting_gemm),
          patch.object(twins, "gemm", counting_gemm)):
        asked.clear()
        y, saved = TWINS[op].forward(*args)
        begin = len(asked)
        TWINS[op].backward(np.zeros_like(y), *saved)
    return asked[:begin], asked[begin:]

# %% launches-use
hidden, W, bias = float32(6, 8), float32(8, 8), float32(8)
LAYER = ((3, "linear", (hidden, W, bias)),
         (2, "linear", (hidden, W)),                 # add_norm adds their bias
         (1, "attention", [float32(2, 3, 5, 4) for _ in range(3)]),
         (2, "add_norm", (hidden, hidden, bias, bias, 1e-12, 0.0, None, bias)),
         (1, "linear_gelu", (hidden, W, bias)))
total = 0
for times, op, args in LAYER:
    forward, backward = launches(op, *args)
    total += times * (len(forward) + len(backward))
    print(f"{times} x {op}", "  forward  " + " ".join(forward),
          "  backward " + " ".join(backward), sep="\n")
print("a layer:", total, "launches, and twelve layers:", 12 * total)

# %% launches-figure
layer = [e.cost for e in counted.entries if "layer.0" in e.name]
bytes_a_token = sum(cost.moved for cost in layer) / ids.size * 12
flops_a_token = sum(cost.flops for cost in layer) / ids.size * 12
tokens = 2.0 ** np.arange(4, 17)
bandwidth, peak = GPUS["H100 SXM"]
work = np.maximum(tokens * bytes_a_token / bandwidth, tokens * flops_a_token / peak) * 1e3
figure, axes = lab.figure(width=6.2, height=2.8)
axes.loglog(tokens, work, color=BLUE, label="what the GPU has to do, at best", base=2)
for microseconds, colour in ((5, GREY), (20, RED)):
    axes.axhline(12 * total * microseconds / 1e3, color=colour, linestyle="--",
                 label=f"{12 * total} launches of {microseconds} us each")
axes.set(title="Below the dashed line the GPU waits for the host",
         xlabel="tokens in a step of a BERT-base", ylabel="time, ms", yscale="log")
axes.legend(frameon=False, fontsize=8)
figure

# %% exercise-launches
lab.answer("12.8", ...)

# %% progress
lab.progress(12)
