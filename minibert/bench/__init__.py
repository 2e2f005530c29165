"""How fast a training step is, where its time goes, and what the same step costs elsewhere: `minibert bench`."""
