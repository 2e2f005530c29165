"""BERT in NumPy, with every backward pass written out by hand."""

from minibert.errors import InputError
from minibert.graph import no_grad
from minibert.models import BertConfig, BertForPreTraining, BertModel
from minibert.optim import AdamW
from minibert.tensor import Tensor

__version__ = "0.1.0"
__all__ = ["AdamW", "BertConfig", "BertForPreTraining", "BertModel", "InputError", "Tensor", "no_grad"]
