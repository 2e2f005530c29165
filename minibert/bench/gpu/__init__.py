"""The same training step on a GPU: `minibert bench --device cuda`."""
