"""Solutions to the exercises of notebook 11."""

# %% setup
from minibert import lab
from minibert.debug import audit_pairs, bisect, doctor
from minibert.lab.bugs import planted

# %% 11.1
# dL/dv dv/dw = u 2 w = 6 * 4; through u come v * 3 = 12 more.
print(lab.answer("11.1", 24.0))

# %% 11.2
# (3 epsilon |f| / |f'''|)^(1/3): the cube root is why float32 is so much worse.
print(lab.answer("11.2", (3 * 2.0**-24) ** (1 / 3)))

# %% 11.3
# One ignore index, 0, for words and for pairs; label 0 says that B is next (codertimo/BERT-pytorch #32).
with planted(1) as sick:
    print(doctor(sick.model, sick.batch)["pair labels"].what)
print(lab.answer("11.3", "next"))

# %% 11.4
# The mean over all positions, padding too (d2l-ai/d2l-en #2582).
with planted(2) as sick:
    print(doctor(sick.model, sick.batch)["masked loss"].what)
print(lab.answer("11.4", "positions"))

# %% 11.5
# Rows are assigned and not added, so the last of equal tokens wins (HIPS/autograd #136).
with planted(3) as sick:
    print(bisect(sick.loss, sick.model))
print(lab.answer("11.5", "embedding"))

# %% 11.6
# A gradient that comes second overwrites the first (karpathy/micrograd #2).
with planted(4) as sick:
    print(bisect(sick.loss, sick.model))
print(lab.answer("11.6", "fork"))

# %% 11.7
# The mask is upside down (nyu-mll/jiant #465).
with planted(5) as sick:
    print(doctor(sick.model, sick.batch)["attention mask"].what)
print(lab.answer("11.7", "padding"))

# %% 11.8
# Position vectors (T, H) are added to each example, so their gradient is a sum over examples (pytorch #13669).
with planted(6) as sick:
    print(bisect(sick.loss, sick.model))
print(lab.answer("11.8", "position"))

# %% 11.9
# The mean of a row was differentiated as if it were the mean of the whole array (AlkiGit/BERT-NumPy).
with planted(7) as sick:
    print(bisect(sick.loss, sick.model))
print(lab.answer("11.9", "mean"))

# %% 11.10
# A tensor rebuilt from another one's data has no graph behind it (AlkiGit/BERT-NumPy); the tied table has a second use.
with planted(8) as sick:
    report = doctor(sick.model, sick.batch)
    print(report["reachability"].what, report["tied weights"].what, sep="\n")
print(lab.answer("11.10", "word"))

# %% 11.11
# Whoever draws from all sentences draws the true next one, too (codertimo/BERT-pytorch #110).
with planted(9) as sick:
    print(audit_pairs(sick.batches, sick.documents, sick.tokenizer).what)
print(lab.answer("11.11", "random"))

# %% 11.12
# A mean of means is the mean only where all parts have equally many labels (huggingface/transformers #34191).
with planted(10) as sick:
    print(doctor(sick.model, sick.batch, gradients=sick.gradients)["accumulation"].what)
print(lab.answer("11.12", "labels"))

# %% 11.13
# Dropout that does not know of evaluation (huggingface/transformers #2860).
with planted(11) as sick:
    print(doctor(sick.model, sick.batch)["evaluation mode"].what)
print(lab.answer("11.13", "bert.encoder.layer.1.output.dropout"))

# %% 11.14
# Divided by H - 1, the deviation is too large by sqrt(H / (H - 1)) (harvardnlp/annotated-transformer #122).
with planted(12) as sick:
    print(doctor(sick.model, sick.batch)["layer norm"].what)
print(lab.answer("11.14", "unbiased"))


# %% 11.15
# Two projections: a shift of the row is invisible, and so is a stretch; `broken` had forgotten the second.
@lab.answer("11.15")
def my_layer_norm_backward(dy, xhat, rstd, gamma):
    dxhat = dy * gamma
    shift = dxhat.mean(axis=-1, keepdims=True)
    stretch = xhat * (dxhat * xhat).mean(axis=-1, keepdims=True)
    rows = dy.reshape(-1, dy.shape[-1])
    return rstd * (dxhat - shift - stretch), (rows * xhat.reshape(rows.shape)).sum(axis=0), rows.sum(axis=0)
