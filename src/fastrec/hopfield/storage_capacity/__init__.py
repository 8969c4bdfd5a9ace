"""Storage capacity: how many memories a network holds, exactly, over many trials."""
