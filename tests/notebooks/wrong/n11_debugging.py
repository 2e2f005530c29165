def _norm(shift=1.0, stretch=1.0, scaled=True, gain=True):
    def backward(dy, xhat, rstd, gamma):
        d = dy * gamma if gain else dy
        dx = d - shift * d.mean(-1, keepdims=True) - stretch * xhat * (d * xhat).mean(-1, keepdims=True)
        rows = dy.reshape(-1, dy.shape[-1])
        return dx * rstd if scaled else dx, (rows * xhat.reshape(rows.shape)).sum(0), rows.sum(0)
    return backward


WRONG = {
    "11.1": [(12.0, "through v comes u dv/dw"), (36.0, "both uses together"), (23.0, "too small")],
    "11.2": [(2.4e-4, "one-sided difference"), (3.9e-3, "the factor 3 is missing"), (7e-6, "in float64"),
             (0.01, "too large")],
    "11.3": [("random", "try the other label"), ("0", "that is the label"), (0, "a word is asked for")],
    "11.4": [("labels", "that is what is right"), ("Tokens", "padding counts as well"), ("words", "is not it")],
    "11.5": [("linear", "the output layer is right"), ("word_embeddings", "that is a module")],
    "11.6": [("pair", "the slope of its forward"), ("cut", "something arrives")],
    "11.7": [("text", "the other way round"), ("[CLS]", "none of the text is seen"), ("nothing", "the doctor says")],
    "11.8": [("word", "shared by all examples"), ("add", "that is the operation")],
    "11.9": [("layer_norm", "put together from smaller ones"), ("divide", "counting something")],
    "11.10": [("position", "nothing at all"), ("Segment", "nothing at all")],
    "11.11": [("next", "do follow each other"), ("both", "is not it")],
    "11.12": [("examples", "a mean over something else"), ("tokens", "what is predicted")],
    "11.13": [("bert.embeddings.dropout", "off in evaluation"), ("dropout", "which one")],
    "11.14": [("biased", "that is what BERT uses"), ("sample", "is not it")],
    "11.15": [(_norm(stretch=0.0), "the term -rstd xhat mean(dxhat xhat) is missing"),
              (_norm(shift=-1.0), "the term -rstd mean(dxhat) has its sign turned"),
              (_norm(scaled=False), "the factor rstd is missing"),
              (_norm(gain=False), "gamma is missing"),
              (lambda dy, xhat, rstd, gamma: _norm()(dy, xhat, rstd, gamma)[0], "1 result, and 3 are asked for")],
}
