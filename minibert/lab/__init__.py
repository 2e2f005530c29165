"""The exercises of the notebooks: declared, graded, helped with; and small tools for their figures and numbers.

    from minibert import lab

    @lab.answer("4.3")                        grade a function that was written in the cell
    def softmax_backward(dp, p): ...
    lab.answer("4.1", 8.0)                    or a number, an array, a word
    lab.hint("4.3")                           the next hint
    lab.exercise("4.3"), lab.progress(4)      what is asked; what has been done, here or without a number everywhere
    lab.train_with("softmax", softmax_backward)      a small model trains with this backward
    with lab.swapped("softmax", softmax_backward):   the engine differentiates with it, inside the block

    lab.agree(by_hand=dx, numeric=lab.numeric_gradient(f, x), library=...)    raises unless they are equal
    lab.figure(1, 2), lab.matrices(p=p, dp=dp)       figures in one look

In a notebook, importing this module also makes figures of matplotlib show themselves as PNG, without pyplot.
"""

import sys
from importlib import import_module
from typing import Any

HOME = {
    "agree": "numeric", "answer": "answering", "exercise": "declaring", "figure": "drawing", "hint": "helping",
    "matrices": "drawing", "numeric_gradient": "numeric", "progress": "record", "swapped": "swapping",
    "train_with": "training"}  # imported when they are asked for
__all__ = sorted(HOME)


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def _show_figures() -> None:
    """Let the running notebook, if there is one, show a Figure that is the value of a cell."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        def picture(figure: Any) -> bytes:
            from minibert.lab.drawing import as_png

            return as_png(figure)
        shell.display_formatter.formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", picture)


_show_figures()
