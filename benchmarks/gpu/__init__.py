"""Checks and measurements of backend "gpu" on a card, with one process per step; run by scripts/gpu-check."""
