"""The card and its software; run as a program, it prints them as one JSON object per line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .formatting import one_line

CLOCKS = {  # of nvidia-smi: MHz, degrees Celsius, watts
    "sm": "clocks.sm",
    "memory": "clocks.mem",
    "sm_max": "clocks.max.sm",
    "memory_max": "clocks.max.mem",
    "temperature": "temperature.gpu",
    "power": "power.draw",
}


def main() -> None:
    """Print first what is known without CUDA, which may hang or die."""
    print_json(software())
    print_json(smi(None, {"card": "name", "driver": "driver_version"}))
    info = cuda()
    print_json(info)
    print_json({"clocks": clocks(info.get("bus"))})


def print_json(info: dict[str, Any]) -> None:
    print(json.dumps(info), flush=True)


def software() -> dict[str, Any]:
    """Return versions and the commit of the checkout, with None for what is missing."""
    info: dict[str, Any] = {"python": platform.python_version(), "host_cpus": cpus()}
    for package in ("numpy", "numba", "torch"):
        try:
            info[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            info[package] = None
    commit = output(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"])
    return info | {"commit": commit or None}


def cpus() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cuda() -> dict[str, Any]:
    """Return the current device according to CUDA, and the reason if backend "gpu" cannot run here."""
    info: dict[str, Any] = {}
    try:
        import cupy

        runtime = cupy.cuda.runtime
        device = runtime.getDevice()
        properties = runtime.getDeviceProperties(device)
        info["card"] = properties["name"].decode()
        info["capability"] = f"{properties['major']}.{properties['minor']}"
        info["multiprocessors"] = properties["multiProcessorCount"]
        info["memory"] = properties["totalGlobalMem"]
        info["cupy"] = cupy.__version__
        info["bus"] = runtime.deviceGetPCIBusId(device)
        info["cuda"] = [cuda_version(runtime.driverGetVersion()), cuda_version(runtime.runtimeGetVersion())]
        info["nvrtc"] = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
    except Exception as error:  # whatever is missing, the sentence below is better where there is one
        info["unavailable"] = one_line(f"CuPy cannot use the card: {error}")
    try:
        from fastrec.backend import unavailable_reason

        if reason := unavailable_reason("gpu"):
            info["unavailable"] = reason
    except ImportError as error:
        info["unavailable"] = f"fastrec cannot be imported: {error}"
    return info


def cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def clocks(bus: str | None) -> dict[str, float]:
    """Return clocks, temperature and power of a card by its PCI bus id, as far as nvidia-smi knows them."""
    info = {}
    for key, value in smi(bus, CLOCKS).items():
        try:
            info[key] = float(value)
        except ValueError:  # "[N/A]"
            continue
    return info


def smi(bus: str | None, fields: dict[str, str]) -> dict[str, str]:
    """Return values of nvidia-smi for a card, by default the first; empty if nvidia-smi does not run."""
    which = [f"--id={bus}"] if bus else []
    query = [
        "nvidia-smi",
        *which,
        f"--query-gpu={','.join(fields.values())}",
        "--format=csv,noheader,nounits",
    ]
    values = output(query).partition("\n")[0].split(", ")
    return dict(zip(fields, values, strict=True)) if len(values) == len(fields) else {}


def output(command: list[str]) -> str:
    """Return the output of a command, or "" if it fails or takes longer than 5 s."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    main()
