"""Solutions to the exercises of notebook 0: run one in the notebook, or the file for all."""

import numpy as np

from minibert import lab

# %% 0.1  Equal probabilities among n answers cost ln n, and the two losses are added.
lab.answer("0.1", np.log(30522) + np.log(2))

# %% 0.2  Each maps 768 numbers to 768, with a bias; heads are slices of that.
lab.answer("0.2", 3 * (768 * 768 + 768))


# %% 0.3  What was not read gets 0, and what was read twice gets the sum.
@lab.answer("0.3")
def my_getitem_backward(dy, x_shape, index):
    dx = np.zeros(x_shape)
    np.add.at(dx, index, dy)
    return dx


# %% 0.4  Each part's input is added to its output, and the sum is normalised.
@lab.answer("0.4")
def block(x, attention, feed_forward, norm):
    a = norm(x + attention(x))
    return norm(a + feed_forward(a))


# %% 0.5  0 where B comes after A in the same document, whatever the two mean.
lab.answer("0.5", [0, 1, 1, 0])

# %% 0.6  A vector for each token of each sentence.
lab.answer("0.6", [16, 40, 768])
