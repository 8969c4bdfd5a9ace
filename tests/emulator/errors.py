"""Errors of the emulated card: named, numbered and worded as CuPy's, and lasting where a card's would."""

from __future__ import annotations

# By CUDA's number: the names that the runtime and the driver have for it, and what both say.
ERRORS = {
    1: ("cudaErrorInvalidValue", "CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    700: (
        "cudaErrorIllegalAddress",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "an illegal memory access was encountered",
    ),
    710: ("cudaErrorAssert", "CUDA_ERROR_ASSERT", "device-side assert triggered"),
    716: ("cudaErrorMisalignedAddress", "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"),
    719: ("cudaErrorLaunchFailure", "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"),
    720: (
        "cudaErrorCooperativeLaunchTooLarge",
        "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        "too many blocks in cooperative launch",
    ),
}
# The error that a card reports for what the emulator has found; the first that is part of its message.
FAULTS = {"out of bounds": 700, "misaligned": 716, "assertion failed": 710, "__trap": 719}


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"{ERRORS[status][0]}: {ERRORS[status][2]}")


class CUDADriverError(RuntimeError):
    """cupy.cuda.driver.CUDADriverError, which launches raise."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"{ERRORS[status][1]}: {ERRORS[status][2]}")


class EmulationError(RuntimeError):
    """A kernel that does not compile, was called wrongly, or went wrong."""


class LaunchError(EmulationError, CUDADriverError):
    """What a card would report too, said with more words."""

    def __init__(self, message: str, status: int) -> None:
        RuntimeError.__init__(self, message)
        self.status = status


lasting: int | None = None  # the number of the error that every call reports


def fault(message: str) -> EmulationError:
    """The error of a kernel that went wrong.

    A card that meets one of FAULTS does no more work for this process: every later call fails.  It reports
    the first one with one of those calls, the emulator with the launch, as CUDA_LAUNCH_BLOCKING=1 does.
    """
    global lasting
    for text, status in FAULTS.items():
        if text in message:
            lasting = status
            return LaunchError(message, status)
    return EmulationError(message)


def reach_card(error: type[CUDARuntimeError | CUDADriverError] = CUDARuntimeError) -> None:
    """Raise the error of a kernel that has faulted before, in whatever call the card is needed for."""
    if lasting is not None:
        raise error(lasting)


def reset() -> None:
    """Work goes on, as in a new process."""
    global lasting
    lasting = None
