"""CUDA C++ kernels launched through CuPy: the twins of the reference, on arrays of the device."""
