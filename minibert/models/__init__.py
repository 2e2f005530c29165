"""The models, and the configuration that defines their shape."""

from minibert.models.bert import BertModel, BertOutput
from minibert.models.config import BertConfig
from minibert.models.pretraining import BertForPreTraining, PreTrainingOutput

__all__ = ["BertConfig", "BertForPreTraining", "BertModel", "BertOutput", "PreTrainingOutput"]
