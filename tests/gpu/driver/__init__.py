"""The real CuPy on a CUDA driver made of host memory: see README.md, one folder up."""
