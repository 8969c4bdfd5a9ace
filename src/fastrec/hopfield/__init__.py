"""Hopfield networks.  The public names are those of `fastrec`; here `capacity` is the module of that name."""
