"""Frozen values, errors, limits, the clock and the ports. Imports nothing of ours: everything else may import this."""
