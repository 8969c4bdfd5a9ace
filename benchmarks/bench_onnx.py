"""Models of ONNX, written by fastrec and run by it and by ONNX Runtime.

ONNX Runtime uses as many threads as there are cores.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastrec


@pytest.mark.parametrize("cell", ["elman", "gru", "gru_before", "lstm", "lstm_peepholes"])
@pytest.mark.parametrize(("b", "t", "i", "h"), [(32, 100, 64, 256), (16, 100, 32, 32), (1, 100, 32, 64)])
def bench_model(versus, tmp_path, cell, b, t, i, h):
    """Compare `fastrec.onnx.load(path).run` with onnxruntime.InferenceSession(path).run."""
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    rnn = fastrec.RNN(i, h, cell=cell, initial="uniform", seed=0, backend="cpu")
    fastrec.onnx.export(rnn, path)
    model, session = fastrec.onnx.load(path, "cpu"), runtime.InferenceSession(path)
    feeds = {"x": np.random.default_rng(0).standard_normal((b, t, i)).astype(np.float32)}
    for ours, theirs in zip(model.run(feeds).values(), session.run(None, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    name = f"{cell} of ONNX, B={b} T={t} I={i} H={h}"
    versus(name, lambda: model.run(feeds), lambda: session.run(None, feeds), None, "onnxruntime")
