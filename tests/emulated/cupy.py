"""What `import cupy` finds where this folder is on the path: the emulator, in processes that tests start."""

import emulator

emulator.install()
emulator.compile_together()
