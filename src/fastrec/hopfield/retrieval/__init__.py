"""Retrieval with errors: how close to a memory recall ends."""
