"""What scripts/gpu-check asks of CuPy, on a card that is not there.  FAKE_CUPY says what is wrong with it."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

__version__ = "14.2.0"
FAULT = os.environ.get("FAKE_CUPY", "")

if FAULT == "broken":
    raise ImportError("libnvrtc.so.13: cannot open shared object file")


class CUDARuntimeError(RuntimeError):
    pass


def get_device_count():
    if FAULT == "no driver":
        raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    if FAULT == "hang":
        time.sleep(99)
    if FAULT == "crash":
        os.abort()
    return 1


def get_device():
    get_device_count()
    return 0


def free(pointer):
    get_device_count()
    if Path(os.environ.get("FAKE_LOST", os.devnull)).is_file():
        raise CUDARuntimeError("cudaErrorUnknown: unknown error")


properties = {"name": b"NVIDIA Fake 9000", "major": 9, "minor": 0, "multiProcessorCount": 132}
cuda = SimpleNamespace(
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=get_device_count,
        getDevice=get_device,
        getDeviceProperties=lambda device: properties | {"totalGlobalMem": 80 * 10**9},
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13020,
        deviceGetPCIBusId=lambda device: "0000:1B:00.0",
        free=free,
    ),
    Device=lambda: SimpleNamespace(attributes={"CooperativeLaunch": 1}),
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 2)),
)
