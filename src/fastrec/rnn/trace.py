"""What a network has computed over a batch of sequences."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import move
from ..display import Column, Displayed, by_index
from ..validation import as_int
from .config import Array
from .passes import Activations, state_after
from .validation import Batch, as_given, public, public_state, to_caller


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Displayed):
    """What `RNN.forward` computed, and what `RNN.backward` reads.

    `RNN.forward` makes it, and it does not change with the arrays that were given there.  Its arrays are of
    the network's dtype; those of k networks have a leading axis k; steps after the end of a row are 0.  They
    are CuPy arrays if x was one, else NumPy arrays.  Those that `RNN.backward` reads are read-only; CuPy
    arrays cannot be, and must not be written to.

    Attributes
    ----------
    outputs : ndarray
        (b, t, o), the hidden units if the network has no output layer.
    hidden : ndarray
        (b, t, h), the hidden units of the top layer; (b, t, 2 h) of a bidirectional network.
    state : ndarray
        (layers, b, s), after the last step of each row: the `state` of the sequences that follow.  s is h,
        for LSTMs 2 h = [h | c], for "jordan" o.  The last step of a direction that reads backwards is the
        first of the sequence.  Where the state was given as (h, c) it is such a tuple, too.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrec
    >>> rnn = fastrec.RNN(3, 5, 2, seed=0)
    >>> trace = rnn.forward(np.zeros((4, 10, 3)))
    >>> trace.outputs.shape, trace.hidden.shape, trace.state.shape
    ((4, 10, 2), (4, 10, 5), (1, 4, 5))
    """

    outputs: Array
    hidden: Array
    state: Any
    if TYPE_CHECKING:  # set by `_of`, and no fields: `dataclasses.asdict` copies what the user reads alone
        _network: object  # that computed it
        _made: Activations

    @classmethod
    def _of(cls, network: object, made: Activations) -> Trace:
        """What a pass computed, as the user reads it but where it was computed."""
        c = made.config
        hidden = read_only(public(c, made.hidden))
        outputs = hidden
        if made.hidden is not made.outputs:
            outputs = public(c, made.outputs)
            outputs = read_only(outputs) if c.kind.feeds_back_output else outputs
        state = public_state(c, state_after(made, made.hidden.shape[2]))
        trace = object.__new__(cls)  # the constructor of a frozen class takes three times as long
        vars(trace).update(outputs=outputs, hidden=hidden, state=state, _network=network, _made=made)
        return trace

    def _with_state(self, state: Any) -> Trace:
        """The same with its state in another form."""
        trace = object.__new__(Trace)
        vars(trace).update(vars(self), state=state)
        return trace

    @property
    def _batch(self) -> Batch:
        return self._made.batch

    def _summary(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).shape for name in ("outputs", "hidden")}
        whole = not isinstance(self.state, tuple)
        arrays["state"] = self.state.shape if whole else tuple(part.shape for part in self.state)
        return arrays | {"dtype": self.outputs.dtype, "backend": self._batch.device.backend}

    def _columns(self) -> list[Column]:
        axes = (*["network"] * (self.outputs.ndim - 3), "sequence", "step")
        return by_index(axes, output=move(self.outputs, "cpu"), hidden=move(self.hidden, "cpu"))

    def state_at(self, t: int) -> Array:
        """Return the state after t steps.

        Parameters
        ----------
        t : int
            From 0, the initial state, to the number of steps.

        Returns
        -------
        ndarray
            (layers, b, s), of rows that are shorter than t the state after their last step.

        Raises
        ------
        ValueError
            If t is not an integer in that range.

        Examples
        --------
        >>> import numpy as np
        >>> import fastrec
        >>> trace = fastrec.RNN(3, 5, seed=0).forward(np.ones((4, 10, 3)))
        >>> bool((trace.state_at(10) == trace.state).all())
        True
        """
        c, state = self._made.config, state_after(self._made, as_int("t", t, 0, self._batch.x.shape[2]))
        return as_given(c, self.state, to_caller(self._batch, public_state(c, state)))

    def _sent_to_caller(self) -> Trace:
        """The trace with the arrays that the user reads where x was given."""
        if self._made.batch.caller is None:
            return self
        outputs = to_caller(self._batch, self.outputs)
        same = self._made.hidden is self._made.outputs
        hidden = outputs if same else to_caller(self._batch, self.hidden)
        trace = copy(self)
        vars(trace).update(outputs=outputs, hidden=hidden, state=to_caller(self._batch, self.state))
        return trace


def read_only(array: Array) -> Array:
    """A view that nobody can write to, of NumPy arrays."""
    view = array.view()
    if isinstance(view, np.ndarray):
        view.flags.writeable = False
    return view
