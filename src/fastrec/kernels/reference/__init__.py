"""NumPy kernels: slow, obvious, the specification of the others."""
