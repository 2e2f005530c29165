"""The same training step in other libraries; each module is run as a process of its own and never imported."""
