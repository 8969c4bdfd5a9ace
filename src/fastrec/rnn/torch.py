"""Weights from PyTorch and to it: transposed, (outputs, inputs), with the gates in the same order."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np

from ..messages import shown
from ..validation import listed
from .cells import CELLS, CellName
from .config import Activation, Array, Config, suffix

if TYPE_CHECKING:
    import torch


def import_torch() -> ModuleType:
    try:
        import torch
    except ImportError:
        raise ImportError('PyTorch is not installed: pip install "fastrec[torch]"') from None
    return torch


def from_torch(module: torch.nn.RNNBase, output: torch.nn.Linear | None) -> tuple[Config, dict[str, Array]]:
    """Sizes and copies of the weights; see `fastrec.RNN.from_torch`."""
    nn = import_torch().nn
    known = {cell.torch: cell for cell in CELLS.values() if cell.torch}
    cell = next((cell for name, cell in known.items() if isinstance(module, getattr(nn, name))), None)
    if cell is None:
        modules = listed([f"torch.nn.{name}" for name in known])
        raise ValueError(f"module is a {type(module).__name__}; it must be a {modules}")
    for fault in ("bidirectional", "proj_size", "dropout"):
        if getattr(module, fault):
            raise ValueError(f"module has {fault}={getattr(module, fault)}, which fastrec does not have")
    h = module.hidden_size
    if output is not None and not (isinstance(output, nn.Linear) and output.in_features == h):
        raise ValueError(f"output is {shown(output)}; it must be a torch.nn.Linear with in_features={h}")
    weights = {name: numpy(f"module.{name}", value) for name, value in module.named_parameters()}
    expected = [
        f"{kind}_{part}_l{layer}"
        for layer in range(module.num_layers)
        for part in ("ih", "hh")
        for kind in ("weight", "bias")[: 1 + module.bias]
    ]
    if weights.keys() != set(expected):
        odd = ", ".join(sorted(weights.keys() ^ set(expected)))
        raise ValueError(f"module does not hold the plain weights of a {type(module).__name__}; check {odd}")
    if output is not None:
        weights |= {
            f"output.{name}": numpy(f"output.{name}", value) for name, value in output.named_parameters()
        }
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) > 1:
        raise ValueError(f"the weights have dtypes {', '.join(sorted(map(str, dtypes)))}; make them one")
    activation: Activation = module.nonlinearity if cell.has_activation else "tanh"
    sizes = (module.input_size, h, output.out_features if output is not None else None)
    config = Config(*sizes, cast(CellName, cell.name), activation, module.num_layers, None, dtypes.pop())
    parameters = {key: np.zeros(shape, config.dtype) for key, shape in config.shapes.items()}
    for layer in range(config.num_layers):
        end = suffix(layer)
        parameters["W_in" + end][...] = weights[f"weight_ih_l{layer}"].T
        parameters["W_rec" + end][...] = weights[f"weight_hh_l{layer}"].T
        if module.bias:
            b, recurrent = parameters["b" + end], weights[f"bias_hh_l{layer}"]
            b[...] = weights[f"bias_ih_l{layer}"]
            apart = parameters[cell.recurrent_bias + end] if cell.recurrent_bias else b[:0]
            added = len(b) - len(apart)
            b[:added] += recurrent[:added]
            apart[...] = recurrent[added:]
    if output is not None:
        parameters["W_out"][...] = weights["output.weight"].T
        if output.bias is not None:
            parameters["b_out"][...] = weights["output.bias"]
    return config, parameters


def to_torch(
    config: Config, parameters: dict[str, Array]
) -> torch.nn.RNNBase | tuple[torch.nn.RNNBase, torch.nn.Linear]:
    """Modules with copies of the weights; see `fastrec.RNN.to_torch`."""
    torch = import_torch()
    if config.models is not None:
        raise ValueError(f"PyTorch has no {config.models} networks in one; copy(model=j) makes one of them")
    if config.embedding_size is not None:
        raise ValueError("PyTorch's recurrent modules have no embedding; make a network whose W_in is E W_in")
    cell = config.kind
    if cell.torch is None or config.activation == "logistic":
        fault = f'cell="{cell.name}"' if cell.torch is None else 'activation="logistic"'
        raise ValueError(f"PyTorch has no network with {fault}")
    kind = getattr(torch.nn, cell.torch)
    options = {"nonlinearity": config.activation} if cell.has_activation else {}
    dtype = getattr(torch, config.dtype.name)
    h, shared = config.hidden_size, {"device": "cpu", "dtype": dtype}
    with torch.random.fork_rng(devices=[]):  # the modules draw weights from PyTorch's global generator
        module = kind(config.input_size, h, config.num_layers, batch_first=True, **options, **shared)
        output = torch.nn.Linear(h, config.outputs_width, **shared)
    weights = {}
    for layer in range(config.num_layers):
        end = suffix(layer)
        weights[f"weight_ih_l{layer}"] = parameters["W_in" + end].T
        weights[f"weight_hh_l{layer}"] = parameters["W_rec" + end].T
        weights[f"bias_ih_l{layer}"] = parameters["b" + end]
        recurrent = weights[f"bias_hh_l{layer}"] = np.zeros_like(parameters["b" + end])
        if cell.recurrent_bias:
            apart = parameters[cell.recurrent_bias + end]
            recurrent[-len(apart) :] = apart
    fill(torch, module, weights)
    if config.output_size is None:
        return module
    fill(torch, output, {"weight": parameters["W_out"].T, "bias": parameters["b_out"]})
    return module, output


def numpy(name: str, tensor: torch.Tensor) -> Array:
    """A tensor as an array, float32 or float64."""
    if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
        raise ValueError(f"{name} has dtype {tensor.dtype}; make it torch.float32 or torch.float64")
    return tensor.detach().cpu().numpy()


def fill(torch: ModuleType, module: torch.nn.Module, weights: dict[str, Array]) -> None:
    """Copy arrays into the parameters of a module."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name].copy()))
