"""The exercises of each notebook, in a module named after it, with an n in front."""
