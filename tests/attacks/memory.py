"""How much memory it takes to read a file: a process that forks one for each file."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import fastrec
from fastrec.hopfield import ScalingResult
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs.store import RunFile


def resume(path: Path) -> None:
    with RunFile(path, SCHEMA) as file:
        file.rows()


READERS: dict[str, Any] = {
    "network": fastrec.RNN.load,
    "Hopfield network": fastrec.HopfieldNetwork.load,
    "dense memory": fastrec.DenseMemory.load,
    "text model": fastrec.CharModel.load,
    "encoder-decoder": fastrec.EncoderDecoder.load,
    "translator": fastrec.Translator.load,
    "results": ScalingResult.load,
    "strokes": fastrec.read_ink,
    "resume": resume,
}


def memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    (found,) = re.findall(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


def measure(reader: str, path: str) -> dict[str, Any]:
    """How reading a file ended, and the bytes that it took."""
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts
    before = memory("VmRSS")
    try:
        READERS[reader](Path(path))
        ending = "read"
    except (ValueError, OSError) as error:
        ending = str(error)
    except BaseException:
        ending = traceback.format_exc()
    return {"ending": ending, "bytes": memory("VmHWM") - before}


def serve() -> None:
    for line in sys.stdin:
        if child := os.fork():
            if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                print(json.dumps({"ending": f"the process ended with {code}", "bytes": 0}), flush=True)
            continue
        signal.alarm(60)
        print(json.dumps(measure(*json.loads(line))), flush=True)
        os._exit(0)


if __name__ == "__main__":
    serve()
