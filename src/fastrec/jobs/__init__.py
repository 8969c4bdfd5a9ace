"""Long runs: files that keep finished work, executors that share it."""
