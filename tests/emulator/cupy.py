"""A stand-in for CuPy where there is no card: its functions on arrays that only the emulator may look into.

Only what fastrec uses, with CuPy's signatures.  It is stricter than CuPy: NumPy arrays are taken by `asarray`
alone, so that no copy is hidden, and `traffic` counts what crosses between host and device.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import CUDADriverError, CUDARuntimeError, reach_card

__version__ = "14.2.0"
ALIGNMENT = 512  # of every allocation of CuPy's pool
GARBAGE = 0xA5  # every byte of new memory: an output that a kernel does not write shows


@dataclass
class Traffic:
    """Copies of arrays to and from the device, and how often the host waited for it (each copy back does)."""

    to_device: int = 0
    to_host: int = 0
    waits: int = 0

    def reset(self) -> None:
        self.to_device = self.to_host = self.waits = 0


traffic = Traffic()


def allocate(shape: Any, dtype: Any, order: str = "C") -> np.ndarray:
    """New host memory that stands for memory of the device."""
    reach_card()
    shape, dtype = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape), np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    octets = np.full(size + ALIGNMENT, GARBAGE, dtype=np.uint8)
    start = -octets.ctypes.data % ALIGNMENT
    return octets[start : start + size].view(dtype).reshape(shape, order=order)


def on_host(value: Any) -> Any:
    """What an operation computes with: the memory of an array, or a scalar."""
    reach_card()
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def keys(key: Any) -> Any:
    """An index with the memory of the arrays in it; arrays of the host would be copied unseen."""
    if isinstance(key, tuple):
        return tuple(map(keys, key))
    if key is None or key is Ellipsis or isinstance(key, (slice, int, np.integer)):
        return key
    if isinstance(key, ndarray):
        return key._host
    raise TypeError(f"Unsupported type {type(key)} in an index")


def binary(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def operate(self: ndarray, other: Any) -> Any:
        return ndarray._of(function(np.asarray(self._host), on_host(other)))

    return operate


def in_place(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def operate(self: ndarray, other: Any) -> ndarray:
        function(self._host, on_host(other))
        return self

    return operate


def reduction(name: str, extra: str = "") -> Any:
    function = getattr(np.ndarray, name)
    if extra == "dtype":

        def reduce(
            self: ndarray, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
        ) -> Any:
            return ndarray._of(function(self._host, axis=axis, dtype=dtype, keepdims=keepdims))

    else:

        def reduce(self: ndarray, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
            return ndarray._of(function(self._host, axis=axis, keepdims=keepdims))

    return reduce


class ndarray:
    """An array of the device: `_host` is its memory, which only the emulator may touch."""

    __module__ = "cupy"
    __slots__ = ("_host",)
    __hash__ = None  # type: ignore[assignment]
    _host: np.ndarray

    def __init__(self, shape: Any, dtype: Any = float, order: str = "C") -> None:
        self._host = allocate(shape, dtype, order)

    @classmethod
    def _of(cls, host: Any) -> ndarray:
        if host is NotImplemented:
            return host
        array = cls.__new__(cls)
        array._host = np.asarray(host)
        if array._host.base is None:  # no view: the device has computed it
            reach_card()
        return array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
            "array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            raise TypeError(f"numpy.{ufunc.__name__} was given an array of the device")
        return ndarray._of(ufunc(*map(on_host, inputs)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was given an array of the device")

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    T = property(lambda self: ndarray._of(self._host.T))
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data))
    device = property(lambda self: cuda.Device(0))

    @property
    def flags(self) -> SimpleNamespace:
        """CuPy's have no `writeable`."""
        own = self._host.flags
        return SimpleNamespace(
            c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, owndata=own.owndata
        )

    def get(
        self, stream: Any = None, order: str = "C", out: np.ndarray | None = None, blocking: bool = True
    ) -> Any:
        reach_card()
        traffic.to_host += 1
        traffic.waits += blocking
        if out is None:
            return self._host.copy(order)
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError("set takes a NumPy array of the same dtype and shape")
        reach_card()
        traffic.to_device += 1
        self._host[...] = arr

    def item(self) -> Any:
        traffic.waits += 1
        return on_host(self).item()

    def __bool__(self) -> bool:
        traffic.waits += 1
        return bool(on_host(self))

    def __int__(self) -> int:
        traffic.waits += 1
        return int(on_host(self))

    def __float__(self) -> float:
        traffic.waits += 1
        return float(on_host(self))

    def tolist(self) -> Any:
        return self.get().tolist()

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, format_spec: str) -> str:
        return format(self.get()[()], format_spec)

    def __reduce__(self) -> Any:
        return asarray, (self.get(),)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        key = keys(key)
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
            traffic.waits += 1  # for the size of the result
        if not any(part is Ellipsis for part in parts):
            parts = (*parts, ...)  # a single element is an array without axes too
        return ndarray._of(self._host[parts])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[keys(key)] = on_host(value)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        return ndarray._of(self._host.reshape(*shape, order=order))

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        return ndarray._of(self._host.view() if dtype is None else self._host.view(dtype))

    def copy(self, order: str = "C") -> ndarray:
        return ndarray._of(self._host.copy(order))

    def ravel(self, order: str = "C") -> ndarray:
        return ndarray._of(self._host.ravel(order))

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        return ndarray._of(self._host.astype(dtype, order=order, copy=True))

    def transpose(self, *axes: Any) -> ndarray:
        return ndarray._of(self._host.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return ndarray._of(self._host.swapaxes(axis1, axis2))

    def take(self, indices: Any, axis: Any = None, out: None = None) -> ndarray:
        return ndarray._of(self._host.take(on_host(indices), axis=axis))

    def fill(self, value: Any) -> None:
        self._host.fill(on_host(value))

    def argmax(
        self, axis: Any = None, out: None = None, dtype: Any = None, keepdims: bool = False
    ) -> ndarray:
        return ndarray._of(self._host.argmax(axis=axis, keepdims=keepdims))

    min, max, any, all = map(reduction, ("min", "max", "any", "all"))
    sum = reduction("sum", "dtype")

    def __neg__(self) -> ndarray:
        return ndarray._of(-self._host)

    def __invert__(self) -> ndarray:
        return ndarray._of(~self._host)

    def __abs__(self) -> ndarray:
        return ndarray._of(abs(self._host))


OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor"]
for operator in OPERATORS:
    for prefix in ("", "r"):
        setattr(ndarray, f"__{prefix}{operator}__", binary(f"__{prefix}{operator}__"))
    setattr(ndarray, f"__i{operator}__", in_place(f"__i{operator}__"))
for operator in ["eq", "ne", "lt", "le", "gt", "ge"]:
    setattr(ndarray, f"__{operator}__", binary(f"__{operator}__"))


def new(host: np.ndarray, order: str = "C") -> ndarray:
    """A copy of host memory on the device."""
    array = allocate(host.shape, host.dtype, order)
    array[...] = host
    return ndarray._of(array)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    value = on_host(fill_value)
    array = ndarray(shape, np.asarray(value).dtype if dtype is None else dtype, order)
    array._host[...] = value
    return array


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype, order)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> ndarray:
    return ndarray(prototype.shape if shape is None else shape, prototype.dtype if dtype is None else dtype)


def zeros_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> ndarray:
    return zeros(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    host = np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype)
    return new(host)


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    if isinstance(a, ndarray):
        with np.errstate(all="ignore"):  # the device says nothing of numbers that do not fit
            host = np.asarray(a._host, dtype=dtype, order=order)
        return a if host is a._host and not copy else ndarray._of(host.copy() if copy else host)
    traffic.to_device += 1
    traffic.waits += blocking
    host = np.asarray(a, dtype=dtype, order=order)
    if host.dtype.kind not in "biufc" or not host.dtype.isnative:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    # As in CuPy, the layout of an array in Fortran's order is kept unless another is asked for.
    return new(host, "F" if host.flags.f_contiguous and not host.flags.c_contiguous else "C")


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    if isinstance(obj, ndarray):
        return ndarray._of(np.array(obj._host, dtype=dtype, copy=copy or None, order=order))
    return asarray(obj, dtype, order, blocking=blocking)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(a, dtype, "C")


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: np.ndarray | None = None, *, blocking: bool = True
) -> Any:
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)


def array_equal(a1: ndarray, a2: ndarray, equal_nan: bool = False) -> ndarray:
    return ndarray._of(np.array_equal(on_host(a1), on_host(a2), equal_nan))


def concatenate(
    tup: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    return ndarray._of(np.concatenate([on_host(a) for a in tup], axis=axis, dtype=dtype, casting=casting))


def stack(
    tup: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    return ndarray._of(np.stack([on_host(a) for a in tup], axis=axis, dtype=dtype, casting=casting))


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    return ndarray._of(np.broadcast_to(on_host(array), shape))


def where(condition: ndarray, x: Any = None, y: Any = None) -> ndarray:
    if x is None or y is None:
        raise NotImplementedError("where with one argument waits for the size of its result")
    return ndarray._of(np.where(on_host(condition), on_host(x), on_host(y)))


def take_along_axis(a: ndarray, indices: ndarray, axis: int | None) -> ndarray:
    return ndarray._of(np.take_along_axis(on_host(a), on_host(indices), axis))


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: ndarray | None = None) -> None:
    np.copyto(dst._host, on_host(src), casting=casting, where=True if where is None else on_host(where))


def count_nonzero(a: ndarray, axis: Any = None) -> ndarray:
    return ndarray._of(np.count_nonzero(on_host(a), axis=axis))


def elementwise(function: np.ufunc) -> Any:
    def operate(*inputs: Any) -> ndarray:
        return ndarray._of(function(*map(on_host, inputs)))

    return operate


isfinite, sqrt, exp, tanh, minimum, maximum, fmax = map(
    elementwise, (np.isfinite, np.sqrt, np.exp, np.tanh, np.minimum, np.maximum, np.fmax)
)


def matmul(*args: ndarray) -> ndarray:
    return ndarray._of(np.matmul(*map(on_host, args)))


def flatnonzero(a: ndarray) -> ndarray:
    traffic.waits += 1  # for the size of the result
    return ndarray._of(np.flatnonzero(on_host(a)))


def sort(a: ndarray, axis: int = -1, kind: Any = None) -> ndarray:
    return ndarray._of(np.sort(on_host(a), axis=axis))


@functools.cache
def visible() -> list[int]:
    """The cards that this process sees: one, or of the FASTREC_EMULATOR_DEVICES those that are listed.

    CUDA_VISIBLE_DEVICES is read once, as it is when CUDA begins: numbers or the beginnings of UUIDs, up to
    the first that is of no card; none, if one is listed twice.
    """
    number, listed = os.environ.get("FASTREC_EMULATOR_DEVICES"), os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = range(int(number or 1))
    if number is None or listed is None:
        return list(cards)
    seen: list[int] = []
    for name in map(str.strip, listed.split(",")):
        found = [i for i in cards if name == str(i) or (name.startswith("GPU-") and uuid(i).startswith(name))]
        if len(found) != 1:
            break
        seen += found
    return seen if len(set(seen)) == len(seen) else []


def uuid(card: int) -> str:
    return f"GPU-{card:08x}-0000-0000-0000-000000000000"


current = 0  # card of this process


def set_device(device: int) -> None:
    global current
    current = Device(device).id


class Device:
    """A small card: few multiprocessors and little memory, so that loops over both have several turns."""

    def __init__(self, device: int | None = None) -> None:
        self.id = current if device in (None, -1) else device
        if self.id not in range(len(visible())):
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    attributes = {  # noqa: RUF012
        "CooperativeLaunch": 1,
        "KernelExecTimeout": 0,
        "MaxSharedMemoryPerBlock": 49152,
        "MaxSharedMemoryPerBlockOptin": 232448,
        "MaxSharedMemoryPerMultiprocessor": 233472,
        "MaxThreadsPerBlock": 1024,
        "MaxThreadsPerMultiProcessor": 2048,
        "MultiProcessorCount": 3,
        "WarpSize": 32,
    }
    compute_capability = "90"
    mem_info = property(lambda self: cuda.runtime.memGetInfo())

    def synchronize(self) -> None:
        reach_card()
        traffic.waits += 1

    def use(self) -> None:
        pass

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *args: object) -> None:
        pass


class Stream:
    """The null stream, on which everything has already happened."""

    null: Stream

    def synchronize(self) -> None:
        reach_card()
        traffic.waits += 1


Stream.null = Stream()


def get_current_stream(device_id: int = -1) -> Stream:
    return Stream.null


def get_device_properties(device: int) -> dict[str, Any]:
    card, (_, total) = Device(device), free_memory()
    return {
        "name": b"Emulated",
        "major": int(card.compute_capability[:-1]),
        "minor": int(card.compute_capability[-1]),
        "multiProcessorCount": card.attributes["MultiProcessorCount"],
        "totalGlobalMem": total,
        "pciBusID": visible()[card.id],
    }


def free_memory() -> tuple[int, int]:
    reach_card()
    return 3 * 2**29, 2**31


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    driverGetVersion=lambda: 13000,
    getDeviceCount=lambda: len(visible()),
    getDevice=lambda: current,
    setDevice=set_device,
    memGetInfo=free_memory,
    getDeviceProperties=get_device_properties,
    CUDA_R_32F=0,
    CUDA_R_16BF=14,
)


def operand(
    trans: int, rows: int, columns: int, address: int, ld: int, stride: int, count: int, dtype: Any
) -> Any:
    """cuBLAS's op(X) (count, rows, columns) at an address, where matrices are stored by columns."""
    if trans:
        return operand(0, columns, rows, address, ld, stride, count, dtype).swapaxes(1, 2)
    if ld < max(1, rows):
        raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE")
    size = ((count - 1) * stride + (columns - 1) * ld + rows) * dtype.itemsize
    memory = np.frombuffer((ctypes.c_byte * size).from_address(address), dtype)
    strides = tuple(dtype.itemsize * step for step in (stride, 1, ld))
    return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), strides)


def widened(words: np.ndarray) -> np.ndarray:
    """float32 from the words of bf16."""
    return (words.astype(np.uint32) << 16).view(np.float32)


def truncated(x: np.ndarray) -> np.ndarray:
    """What tensor cores read of a word of tf32; cuBLAS does not say how it rounds to it."""
    return (np.ascontiguousarray(x).view(np.uint32) & 0xFFFFE000).view(np.float32)


def gemm_strided_batched(dtype: Any, given: Any = None, convert: Any = np.asarray) -> Any:
    """cublas<t>gemmStridedBatched, which CuPy gives as cuBLAS has it: C = alpha op(A) op(B) + beta C.

    given: type of both factors where it is not that of the result.  convert: what they are multiplied as.
    """
    dtype, given = np.dtype(dtype), np.dtype(given or dtype)

    def multiply(
        handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
        A: int, lda: int, strideA: int, B: int, ldb: int, strideB: int, beta: int,
        C: int, ldc: int, strideC: int, batchCount: int,
    ) -> None:  # fmt: skip
        for number in (transa, transb, m, n, k, lda, ldb, ldc, batchCount):
            if type(number) is not int or not 0 <= number < 2**31:
                raise OverflowError(f"{number!r} is no int of C")
        a = operand(transa, m, k, A, lda, strideA, batchCount, given)
        b = operand(transb, k, n, B, ldb, strideB, batchCount, given)
        c = operand(0, m, n, C, ldc, strideC, batchCount, dtype)
        one, other = (operand(0, 1, 1, address, 1, 0, 1, dtype)[0, 0, 0] for address in (alpha, beta))
        with np.errstate(all="ignore"):
            a, b = convert(a), convert(b)
            # By columns: how the BLAS of some CPUs adds depends on how many there are.
            product = np.concatenate([a @ b[:, :, j : j + 1] for j in range(n)] or [a @ b], axis=2)
            c[...] = one * product + (other * c if other else 0)

    return multiply


COMPUTE_32F, COMPUTE_32F_FAST_TF32, GEMM_DEFAULT, GEMM_DEFAULT_TENSOR_OP = 68, 77, -1, 99
MIXED = {  # by the type of the factors and the kind of sum
    (runtime.CUDA_R_16BF, COMPUTE_32F): gemm_strided_batched(np.float32, np.uint16, widened),
    (runtime.CUDA_R_32F, COMPUTE_32F_FAST_TF32): gemm_strided_batched(np.float32, np.float32, truncated),
}


def gemm_strided_batched_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
    A: int, Atype: int, lda: int, strideA: int, B: int, Btype: int, ldb: int, strideB: int, beta: int,
    C: int, Ctype: int, ldc: int, strideC: int, batchCount: int, computeType: int, algo: int,
) -> None:  # fmt: skip
    """cublasGemmStridedBatchedEx from bf16, or as tf32, to float32."""
    multiply = MIXED.get((Atype, computeType))
    if not multiply or Atype != Btype or Ctype != runtime.CUDA_R_32F:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
    if algo not in (GEMM_DEFAULT, GEMM_DEFAULT_TENSOR_OP):
        raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE")
    sizes, a, b, c = (transa, transb, m, n, k), (A, lda, strideA), (B, ldb, strideB), (C, ldc, strideC)
    multiply(handle, *sizes, alpha, *a, *b, beta, *c, batchCount)


cublas = SimpleNamespace(
    sgemmStridedBatched=gemm_strided_batched(np.float32),
    dgemmStridedBatched=gemm_strided_batched(np.float64),
    gemmStridedBatchedEx=gemm_strided_batched_ex,
    CUBLAS_COMPUTE_32F=COMPUTE_32F,
    CUBLAS_COMPUTE_32F_FAST_TF32=COMPUTE_32F_FAST_TF32,
    CUBLAS_GEMM_DEFAULT=GEMM_DEFAULT,
    CUBLAS_GEMM_DEFAULT_TENSOR_OP=GEMM_DEFAULT_TENSOR_OP,
)


def occupancy(func: int, blockSize: int, dynamicSMemSize: int) -> int:
    """The blocks that a multiprocessor has room for, of a kernel that RawKernel.kernel stands for."""
    from . import raw

    return raw.resident_blocks(blockSize, func + dynamicSMemSize)


driver = SimpleNamespace(
    CUDADriverError=CUDADriverError,
    occupancyMaxActiveBlocksPerMultiprocessor=occupancy,
)
cuda = SimpleNamespace(
    driver=driver,
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    runtime=runtime,
    cublas=cublas,
    device=SimpleNamespace(get_cublas_handle=lambda: 1),
    Device=Device,
    Stream=Stream,
    get_current_stream=get_current_stream,
)


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view of an array's memory, by strides in bytes."""
    return ndarray._of(np.lib.stride_tricks.as_strided(x._host, shape, strides))


_core = SimpleNamespace(core=SimpleNamespace(assemble_cupy_compiler_options=lambda options: options))
lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))
pool = SimpleNamespace(free_bytes=lambda: 0, used_bytes=lambda: 0)


def get_default_memory_pool() -> SimpleNamespace:
    return pool


def __getattr__(name: str) -> Any:
    if name in ("RawModule", "RawKernel"):
        from . import raw

        return getattr(raw, name)
    raise AttributeError(f"the stand-in for CuPy has no {name}")
