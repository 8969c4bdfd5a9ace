"""Checks and measures backend "gpu" on a card, one process a step: what scripts/gpu-check runs."""
