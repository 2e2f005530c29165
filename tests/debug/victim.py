"""What a debugger is attached to in test_debuggers.py: one forward and one backward pass of a small model."""

import numpy as np

import minibert

config = minibert.BertConfig(vocab_size=37, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
                             intermediate_size=19, max_position_embeddings=17)
ids = np.random.default_rng(0).integers(1, 37, (2, 7))
model = minibert.BertForPreTraining(config)
loss = model(ids, labels=ids, next_sentence_label=[0, 1]).loss
loss.backward()
print("gradient", model.cls.predictions.bias.grad.shape)
