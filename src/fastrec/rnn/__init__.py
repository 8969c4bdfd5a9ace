"""Recurrent neural networks and backpropagation through time.  The public names are those of `fastrec`."""
