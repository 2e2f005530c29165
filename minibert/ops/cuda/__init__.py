"""CUDA twins of operations: the same functions, as kernels. Imported when the first array goes to a GPU."""
