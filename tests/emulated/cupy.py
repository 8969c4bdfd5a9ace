"""What `import cupy` finds where this folder is on the path: the emulator, in processes that tests start."""

import emulator

emulator.install()

from fastrec.kernels.gpu import module  # noqa: E402  # after it, as it imports CuPy

module.compiled_with = lambda file, name: module.KERNELS[file]  # as tests/devices.py says
