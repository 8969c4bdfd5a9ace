"""Weights from PyTorch and to it: transposed, (outputs, inputs), with the gates in the same order."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..messages import install_command, shown
from ..validation import listed
from .cells import CELLS, CellName
from .cells.cell import Cell
from .config import Activation, Array, Config, Direction, suffix

if TYPE_CHECKING:
    import torch


ALONE = "give the recurrent layers alone, and the output layer as output"


def import_torch() -> ModuleType:
    try:
        import torch
    except ImportError:
        raise ImportError(f"PyTorch is not installed: {install_command('torch')}") from None
    return torch


def from_torch(module: torch.nn.Module, output: torch.nn.Linear | None) -> tuple[Config, dict[str, Array]]:
    """Sizes and copies of the weights; see `fastrec.RNN.from_torch`."""
    nn = import_torch().nn
    layers, out_layer, embedding = parts_of(nn, module, output)
    cell = cell_of(nn, layers)
    if layers.proj_size:
        raise ValueError(f"module has proj_size={layers.proj_size}, which fastrec does not have")
    direction: Direction = "bidirectional" if layers.bidirectional else "forward"
    width = layers.hidden_size * (1 + layers.bidirectional)
    if out_layer is not None and not (isinstance(out_layer, nn.Linear) and out_layer.in_features == width):
        needed = f"a torch.nn.Linear with in_features={width}"
        if output is None:
            raise ValueError(f"module holds {shown(out_layer)}, and the output layer is {needed}; {ALONE}")
        raise ValueError(f"output is {shown(output)}; it must be {needed}")
    require_embedding(embedding, layers.input_size)
    ends = ends_of(layers.num_layers, layers.bidirectional)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if layers.bias else 2]
    weights = plain_weights("module", layers, {kind + end for kind in kinds for end in ends})
    for part, apart in (("output", out_layer), ("embedding", embedding)):
        if apart is not None:
            expected = {"weight", "bias"} if getattr(apart, "bias", None) is not None else {"weight"}
            weights |= {f"{part}.{key}": own for key, own in plain_weights(part, apart, expected).items()}
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) > 1:
        raise ValueError(f"the weights have dtypes {', '.join(sorted(map(str, dtypes)))}; make them one")
    activation: Activation = layers.nonlinearity if cell.has_activation else "tanh"
    i, e = layers.input_size, None
    if embedding is not None:
        i, e = embedding.num_embeddings, embedding.embedding_dim
    o = None if out_layer is None else out_layer.out_features
    rest = (cast(CellName, cell.name), activation, layers.num_layers, None, dtypes.pop(), e, direction)
    config = Config(i, layers.hidden_size, o, *rest)
    parameters = {key: np.zeros(shape, config.dtype) for key, shape in config.shapes.items()}
    for end, own in zip(ends, each_direction(config, parameters), strict=True):
        own["W_in"][...] = weights["weight_ih" + end].T
        own["W_rec"][...] = weights["weight_hh" + end].T
        take_biases(cell, own, *(weights[kind + end] for kind in kinds[2:]))
    if out_layer is not None:
        parameters["W_out"][...] = weights["output.weight"].T
        parameters["b_out"][...] = weights.get("output.bias", 0)
    if embedding is not None:
        parameters["E"][...] = weights["embedding.weight"]
    return config, parameters


def ends_of(layers: int, bidirectional: bool) -> list[str]:
    """What PyTorch ends the names of weights with, for each direction of each layer in turn."""
    ways = ("", "_reverse")[: 1 + bidirectional]
    return [f"_l{layer}{way}" for layer in range(layers) for way in ways]


def each_direction(config: Config, parameters: dict[str, Array]) -> list[dict[str, Array]]:
    """The cell's parameters of each direction of each layer in turn, by their names in the first layer."""
    return [
        {
            name: parameters[name + suffix(layer)][way if config.directions > 1 else ...]
            for name in (*config.kind.parameters, *config.kind.initial)
        }
        for layer in range(config.num_layers)
        for way in range(config.directions)
    ]


def take_biases(cell: Cell, own: dict[str, Array], *biases: Array) -> None:
    """Fill those of a direction: with 0, or of the two that PyTorch adds with their sum."""
    b = own["b"]
    b_rec = own[cell.recurrent_bias] if cell.recurrent_bias else b[:0]
    b[...], b_rec[...] = 0, 0
    if biases:
        inward, recurrent = biases
        added = len(b) - len(b_rec)
        b[...] = inward
        b[:added] += recurrent[:added]
        b_rec[...] = recurrent[added:]


def give_biases(cell: Cell, own: dict[str, Array]) -> tuple[Array, Array]:
    """The biases of a direction as the two that others add: that of the inputs and the recurrent one."""
    recurrent = np.zeros_like(own["b"])
    if cell.recurrent_bias:
        apart = own[cell.recurrent_bias]
        recurrent[-len(apart) :] = apart
    return own["b"], recurrent


def cell_of(nn: ModuleType, module: object) -> Cell:
    """The cell with the equations of a module; ValueError if there is none."""
    known = {cell.torch: cell for cell in CELLS.values() if cell.torch}
    for name, cell in known.items():
        if isinstance(module, getattr(nn, name)):
            return cell
    modules = listed([f"torch.nn.{name}" for name in known])
    raise ValueError(f"module is of type {type(module).__name__}; it must be a {modules}, or hold one")


def parts_of(
    nn: ModuleType, module: torch.nn.Module, output: torch.nn.Linear | None
) -> tuple[torch.nn.RNNBase, torch.nn.Linear | None, torch.nn.Embedding | None]:
    """The recurrent layers, the output layer and the embedding that a module is or holds.

    Raises ValueError unless there is one of the first, and at most one of each of the others.
    """
    if not isinstance(module, nn.Module) or isinstance(module, nn.RNNBase):
        return module, output, None
    found: dict[str, Any] = {}
    for kind in ("RNNBase", "Embedding", "Linear")[: 3 if output is None else 2]:
        those = {name: part for name, part in module.named_modules() if isinstance(part, getattr(nn, kind))}
        if len(those) > 1:
            raise ValueError(f"module has several torch.nn.{kind}, {', '.join(those)}; {ALONE}")
        found[kind] = next(iter(those.values()), None)
    return found["RNNBase"] or module, found.get("Linear", output), found["Embedding"]


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
    faults = {
        f"layer_norm={shown(config.layer_norm)}": bool(config.layer_norm),
        f'cell="{cell.name}"': cell.torch is None,
        f'activation="{config.activation}"': config.activation not in ("tanh", "relu"),
        "reverse=True": config.direction == "reverse",
    }
    if any(faults.values()):
        raise ValueError(f"PyTorch has no network with {next(key for key in faults if faults[key])}")
    kind = getattr(torch.nn, str(cell.torch))
    options: dict[str, Any] = {"nonlinearity": config.activation} if cell.has_activation else {}
    options["bidirectional"] = config.directions > 1
    dtype = getattr(torch, config.dtype.name)
    h, shared = config.hidden_size, {"device": "cpu", "dtype": dtype}
    with torch.random.fork_rng(devices=[]):  # the modules draw weights from PyTorch's global generator
        module = kind(config.input_size, h, config.num_layers, batch_first=True, **options, **shared)
        output = torch.nn.Linear(config.hidden_width, config.outputs_width, **shared)
    weights = {}
    ends = ends_of(config.num_layers, module.bidirectional)
    for end, own in zip(ends, each_direction(config, parameters), strict=True):
        weights["weight_ih" + end] = own["W_in"].T
        weights["weight_hh" + end] = own["W_rec"].T
        weights["bias_ih" + end], weights["bias_hh" + end] = give_biases(cell, own)
    fill(torch, module, weights)
    if config.output_size is None:
        return module
    fill(torch, output, {"weight": parameters["W_out"].T, "bias": parameters["b_out"]})
    return module, output


def require_embedding(embedding: torch.nn.Embedding | None, input_size: int) -> None:
    """Raise ValueError unless layers with that input_size read what an embedding holds."""
    if embedding is None:
        return
    if embedding.embedding_dim != input_size:
        raise ValueError(
            f"module holds {embedding}, and the recurrent layers have input_size={input_size}; {ALONE}"
        )
    if embedding.max_norm is not None:
        raise ValueError(
            f"module holds {embedding}, and fastrec has no max_norm; scale its weights and set it to None"
        )


def plain_weights(name: str, module: torch.nn.Module, expected: set[str]) -> dict[str, Array]:
    """The parameters of a module; ValueError unless they are those expected, not others that make them."""
    weights = {key: numpy(f"{name}.{key}", value) for key, value in module.named_parameters()}
    if weights.keys() != expected:
        odd = ", ".join(sorted(weights.keys() ^ expected))
        raise ValueError(f"{name} does not hold the plain weights of a {type(module).__name__}; check {odd}")
    return weights


def numpy(name: str, tensor: torch.Tensor) -> Array:
    """A tensor as an array, float32 or float64."""
    if tensor.is_meta:
        raise ValueError(f"{name} is on the device meta and has no values; give a module that has them")
    if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
        raise ValueError(f"{name} has dtype {tensor.dtype}; make it torch.float32 or torch.float64")
    return tensor.detach().cpu().numpy()


def fill(torch: ModuleType, module: torch.nn.Module, weights: dict[str, Array]) -> None:
    """Copy arrays into the parameters of a module."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name].copy()))
