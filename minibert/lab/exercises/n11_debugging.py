"""Exercises of notebook 11: finding what is wrong with a gradient.  Bug n of the lab is exercise 11.(n + 2)."""

import numpy as np

from minibert.backend import Array
from minibert.lab.declaring import Backward, Exercise, Value


def _mean(x: Array) -> Array:
    return np.asarray(x.mean(axis=-1, keepdims=True))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _sums(dy: Array, xhat: Array) -> tuple[Array, Array]:
    """dgamma and dbeta."""
    return (_rows(dy) * _rows(xhat)).sum(axis=0), _rows(dy).sum(axis=0)


def _gain_too_late(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, ...]:
    dx = rstd * (dy - _mean(dy) - xhat * _mean(dy * xhat)) * gamma
    return dx, *_sums(dy, xhat)


def _gain_forgotten(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, ...]:
    return rstd * (dy - _mean(dy) - xhat * _mean(dy * xhat)), *_sums(dy, xhat)


def _sum_for_mean(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> tuple[Array, ...]:
    d = dy * gamma
    return rstd * (d - _mean(d) - xhat * (d * xhat).sum(axis=-1, keepdims=True)), *_sums(dy, xhat)


def _rstd(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> Array:
    return rstd


USES = Value(
    number="11.1", title="By use", right=24.0,
    mistakes={"that is the part through u, d(3 w)/dw v; through v comes u dv/dw": 12.0,
              "that is the whole, both uses together": 36.0,
              "that is dv/dw alone; the way to L goes on with dL/dv = u": 4.0},
    hints=("Through v means: v moves, and u stands still.",
           "dL/dv is u, and dv/dw is 2 w.",
           "u = 6 and 2 w = 4, and their product is the answer."))
STEP = Value(
    number="11.2", title="The best step", right=(3 * 2.0**-24) ** (1 / 3), tolerance=0.02,
    mistakes={"that is the square root, the best step of a one-sided difference": 2.0**-12,
              "the factor 3 is missing under the root: it comes from the derivatives of h^2 / 6 and of 1 / h":
                  2.0**-8,
              "that is the best step in float64": (3 * 2.0**-53) ** (1 / 3),
              "a step as small as a rounding changes nothing but roundings": 2.0**-24},
    hints=("Put |f| = |f'''| = 1 into the formula for the best step.",
           "h = (3 epsilon)^(1/3), with epsilon = 6.0e-8.",
           "The cube root of 1.8e-7: (1.8e-7) ** (1 / 3)."))
BUGS = (
    Value(
        number="11.3", title="Bug 1", right="next",
        mistakes={"random": "random pairs have label 1, and a batch of them alone has a loss; try the other label",
                  "0": "that is the label; which pairs have it, `next` or `random`?"},
        hints=("Run the doctor: print(doctor(sick.model, sick.batch)), and read the lines with a cross.",
               "Its check `pair labels` says which label alone has a loss of 0.",
               "Label 0 says that B follows A.")),
    Value(
        number="11.4", title="Bug 2", right="positions",
        mistakes={"labels": "that is what is right; look at what the doctor says of the `masked loss`",
                  "examples": "nine is far too few: the loss would be large, and it is small",
                  "tokens": "nearly: not only what is a token, padding counts as well"},
        hints=("Compare sick.loss() with that of planted(0), and with the shapes of the batch.",
               "The doctor's check `masked loss` tries what it may have been divided by.",
               "It is divided by the number of all places of the batch, padding too: all ...?")),
    Value(
        number="11.5", title="Bug 3", right="embedding",
        mistakes={"linear": "the output layer is right; the other use of a table is not",
                  "add": "what is added is handed on as it should be; look one operation further back",
                  "word_embeddings": "that is a module; which operation does it run?"},
        hints=("A backward is wrong, so ask for the first wrong operation.",
               "print(bisect(sick.loss, sick.model)).",
               "The operation looks up rows of a table by number, and its backward does not add up repeats.")),
    Value(
        number="11.6", title="Bug 4", right="fork",
        mistakes={"pair": "each backward is the slope of its forward: check them one by one",
                  "cut": "something arrives at every parameter; but is it all that should?"},
        hints=("Every operation is right, so the fault is between operations: where gradients meet.",
               "bisect names the value, and which of its uses is there and which is missing.",
               "print(bisect(sick.loss, sick.model).kind).")),
    Value(
        number="11.7", title="Bug 5", right="padding",
        mistakes={"nothing": "then its loss could not depend on what stands under the mask; the doctor says it does",
                  "cls": "[CLS] is text, and none of the text is seen",
                  "[cls]": "[CLS] is text, and none of the text is seen",
                  "text": "it is the other way round: what is a 1 in the mask, and what a 0?"},
        hints=("What decides where attention may look? Change it, or let the doctor do so.",
               "The doctor's check `attention mask` changes the text, and then what stands behind it.",
               "The mask is upside down: all that is seen is what fills up the rows.")),
    Value(
        number="11.8", title="Bug 6", right="position",
        mistakes={"word": "word vectors have a place of their own for each example; what is shared by all examples?",
                  "segment": "segments are looked up for each example; what is shared by all examples?",
                  "add": "that is the operation; which of the three tables does it cheat?"},
        hints=("bisect names an operation and which of its inputs is wrong. What comes in there?",
               "In BertEmbeddings.forward three things are added: two of shape (B, T, H), and one of shape (T, H).",
               "What was stretched over the batch must be summed over it, and here only its first row counts.")),
    Value(
        number="11.9", title="Bug 7", right="mean",
        mistakes={"layer_norm": "here it is no operation of its own: it is put together from smaller ones",
                  "sqrt": "the root is right: a factor that depends on the batch must come from counting something",
                  "divide": "division is right: a factor that depends on the batch must come from counting something"},
        hints=("Ask bisect. It also says by which factor the gradient is too small.",
               "The factor is the number of rows: something is divided by the size of the whole array.",
               "Which operation divides by a length at all?")),
    Value(
        number="11.10", title="Bug 8", right="word",
        mistakes={"position": "this one gets nothing at all: look at its `grad` after sick.loss().backward()",
                  "segment": "this one gets nothing at all: look at its `grad` after sick.loss().backward()"},
        hints=("Run sick.loss().backward() and look which grad is None, for p in sick.model.parameters().",
               "The doctor's check `reachability` names those that get nothing, and `tied weights` the third.",
               "The output layer scores words with one of the tables: from there it gets its gradient.")),
    Value(
        number="11.11", title="Bug 9", right="random",
        mistakes={"next": "pairs labelled next do follow each other: look them up in sick.documents"},
        hints=("No gradient is wrong, so no gradient tool will tell. The data must be compared with the corpus.",
               "from minibert.debug import audit_pairs, and give it sick.batches, sick.documents, sick.tokenizer.",
               "A sentence that was drawn by chance may be the one that follows.")),
    Value(
        number="11.12", title="Bug 10", right="labels",
        mistakes={"examples": "examples do not have equally many masked words; the loss is a mean over something else",
                  "tokens": "the loss is no mean over all tokens: what is predicted?"},
        hints=("What is a loss the mean of? Compare sick.gradients with one backward pass of the whole batch.",
               "doctor(sick.model, sick.batch, gradients=sick.gradients) says it at `accumulation`.",
               "What is predicted are masked words and pairs, and each of both kinds has one: a ...?")),
    Value(
        number="11.13", title="Bug 11", right="bert.encoder.layer.1.output.dropout",
        mistakes={"bert.embeddings.dropout": "this one is off in evaluation, as it should be",
                  "bert.encoder.layer.0.output.dropout": "this one is off; look one layer further",
                  "dropout": "there are seven of them: which one?"},
        hints=("Whatever is random in evaluation was left on. Which modules are random at all?",
               "The doctor's check `evaluation mode` names the module.",
               "It is the dropout at the end of the feed-forward part, `output`, of the second layer, `layer.1`.")),
    Value(
        number="11.14", title="Bug 12", right="unbiased",
        mistakes={"biased": "that is what BERT uses, divided by H; then the numbers would not be too small"},
        hints=("Too small means divided by too much. Is the sum of squares over H - 1 larger, or that over H?",
               "The doctor's check `layer norm` finds the factor: sqrt(1 - 1/12).",
               "Divided by H - 1, the deviation is the larger one, as statistics takes it for a sample.")))
REPAIR = Backward(
    number="11.15", title="Write this backward, repaired: layer normalisation", op="layer_norm",
    cases=lambda rng: [(rng.standard_normal(shape), rng.uniform(0.5, 2.0, shape[-1]), rng.standard_normal(shape[-1]))
                       for shape in ((3, 5), (2, 4, 7), (1, 3))],
    terms={"dx": {"rstd dxhat": lambda dy, xhat, rstd, gamma: rstd * dy * gamma,
                  "-rstd mean(dxhat)": lambda dy, xhat, rstd, gamma: -rstd * _mean(dy * gamma) * np.ones_like(dy),
                  "-rstd xhat mean(dxhat xhat)":
                      lambda dy, xhat, rstd, gamma: -rstd * xhat * _mean(dy * gamma * xhat)},
           "dgamma": {"sum(dy xhat)": lambda dy, xhat, rstd, gamma: _sums(dy, xhat)[0]},
           "dbeta": {"sum(dy)": lambda dy, xhat, rstd, gamma: _sums(dy, xhat)[1]}},
    factors={"dx": {"rstd": _rstd}},
    mistakes={"gamma must come first: dxhat = dy gamma goes into both means": _gain_too_late,
              "gamma is missing: dxhat = dy gamma": _gain_forgotten,
              "that is a sum where the formula has a mean over the row": _sum_for_mean},
    hints=("Layer normalisation ignores two things that may happen to a row: being shifted, and being stretched. So a "
           "gradient must have no part along either.",
           "`broken` removes what a shift does, - mean(dxhat). What a stretch does is the part along xhat.",
           "That part is xhat * mean(dxhat * xhat), over the last axis, with keepdims=True.",
           "dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)); dgamma and dbeta were right."))

EXERCISES: tuple[Exercise, ...] = (USES, STEP, *BUGS, REPAIR)
