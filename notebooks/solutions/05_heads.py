"""Solutions to the exercises of notebook 5: run one in the notebook, or the file for all."""

from minibert import lab

# %% 5.1  Twelve matrices of 768 x 64 side by side are one of 768 x 768, and there are four kinds.
lab.answer("5.1", 4 * 768 * 768)


# %% 5.2  Cut the last axis, then exchange the axes of positions and heads.
@lab.answer("5.2")
def my_split_heads(x, heads):
    B, T, H = x.shape
    return x.reshape(B, T, heads, H // heads).swapaxes(1, 2)


# %% 5.3  Merging moves numbers, so its backward moves them back: it splits.
@lab.answer("5.3")
def my_merge_heads_backward(dy, heads):
    B, T, H = dy.shape
    return dy.reshape(B, T, heads, H // heads).swapaxes(1, 2)


# %% 5.4  x was used three times, so three gradients are added.
@lab.answer("5.4")
def input_gradient(dq, dk, dv, Wq, Wk, Wv):
    B, A, T, D = dq.shape
    dq, dk, dv = (d.swapaxes(1, 2).reshape(B, T, A * D) for d in (dq, dk, dv))
    return dq @ Wq + dk @ Wk + dv @ Wv


# %% 5.5  Certain where both words are the same, which is one case in ten, and a coin elsewhere.
lab.answer("5.5", 0.1 * 1.0 + 0.9 * 0.5)


# %% 5.6  A gate multiplies every number of its head, so the gradients of all of them are summed.
@lab.answer("5.6")
def gate_gradient(dcontext, context):
    return (dcontext * context).sum(axis=(0, 2, 3))


# %% 5.7  64 x 768 numbers in each of the four matrices, and 64 in each of three biases.
lab.answer("5.7", 4 * 64 * 768 + 3 * 64)
