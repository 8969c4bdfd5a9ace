"""Recurrent modules of PyTorch inside a model replaced by those of fastrec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backend import unavailable_reason
from ..messages import shown
from ..progress import is_quiet, write
from ..rnn.torch_weights import import_torch

if TYPE_CHECKING:
    import torch
else:
    torch = import_torch()
from .modules import DTYPES, GRU, LSTM, RNN, Fused

REPLACED = {torch.nn.RNN: RNN, torch.nn.GRU: GRU, torch.nn.LSTM: LSTM}


def speed_up(model: torch.nn.Module) -> torch.nn.Module:
    """Make every torch.nn.RNN, GRU and LSTM inside a model compute with the kernels of fastrec.

    The modules stay the same objects, with the same parameters, hooks and names in the state_dict: only their
    class changes.  What was replaced, and what was not and why, is written to standard error unless the
    environment variable FASTREC_QUIET is set.

    Parameters
    ----------
    model : torch.nn.Module
        A model that holds such modules, or one of them.

    Returns
    -------
    torch.nn.Module
        The same model.

    Raises
    ------
    ValueError
        If model is not a module.

    Examples
    --------
    >>> import torch
    >>> import fastrec
    >>> model = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 8), "readout": torch.nn.Linear(8, 2)})
    >>> type(fastrec.torch.speed_up(model)["rnn"])
    <class 'fastrec.torch.modules.GRU'>
    """
    found = survey(model)
    modules = dict(model.named_modules())
    lines = [] if found else ["found no torch.nn.RNN, GRU or LSTM in the model"]
    for name, reason in found.items():
        module, name = modules[name], name or "the model"
        if reason:
            lines.append(f"{name} is left as it is: {reason}")
        else:
            module.__class__ = REPLACED[type(module)]
            lines.append(f"{name} is now a fastrec.torch.{type(module).__name__}")
    if not is_quiet():
        write("".join(f"fastrec: {line}\n" for line in lines))
    return model


def survey(model: torch.nn.Module) -> dict[str, str | None]:
    """Return which recurrent modules `speed_up` would replace, and why not the others; nothing is changed.

    Parameters
    ----------
    model : torch.nn.Module
        As for `speed_up`.

    Returns
    -------
    dict of str to str or None
        For each recurrent module, by its name in the model, None if it can be replaced, else the reason.

    Raises
    ------
    ValueError
        If model is not a module.

    Examples
    --------
    >>> import torch
    >>> import fastrec
    >>> fastrec.torch.survey(torch.nn.Sequential(torch.nn.GRU(3, 8), torch.nn.LSTM(3, 8, proj_size=4)))
    {'0': None, '1': 'it has proj_size=4'}
    """
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model is {shown(model)}; it must be a torch.nn.Module")
    return {name: reason_against(module) for name, module in model.named_modules() if is_recurrent(module)}


def is_recurrent(module: torch.nn.Module) -> bool:
    """Whether a module is of PyTorch's recurrent ones, those that are scripted or quantized too."""
    names = [kind.__name__ for kind in REPLACED]
    return (
        isinstance(module, torch.nn.RNNBase)
        or getattr(module, "original_name", type(module).__name__) in names
    )


def reason_against(module: torch.nn.Module) -> str | None:
    """Why a recurrent module cannot be replaced, or None if it can."""
    kind = type(module)
    if isinstance(module, Fused):
        return "it is one of fastrec's"
    if torch.nn.utils.parametrize.is_parametrized(module):
        return "its weights are parametrized; parametrize a module of fastrec.torch instead"
    if kind not in REPLACED:
        return f"it is a {kind.__module__}.{kind.__qualname__}"
    if "forward" in vars(module):
        return "it has a forward of its own"
    if module.proj_size:
        return f"it has proj_size={module.proj_size}"
    for weight in module.parameters():
        if weight.dtype not in DTYPES:
            return f"its weights are {weight.dtype}"
        if weight.device.type not in ("cpu", "cuda"):
            return f"its weights are on {weight.device}"
        if weight.is_cuda and (fault := unavailable_reason("gpu", "rnn")):
            return fault
    return None
