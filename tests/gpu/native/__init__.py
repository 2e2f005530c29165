"""The sections of `run_on_gpu.py`, each of which runs in a process of its own."""
