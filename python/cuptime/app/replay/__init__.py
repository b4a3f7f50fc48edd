"""`cuptime replay`: a recorded delivery day, decided again under a simulated clock, judged by an evaluator of its own.

day        reads the files of one day
service    a whole node that decides it, and the world around: customers and riders
greedy     the baseline
evaluator  knows neither: takes a plan, refuses an infeasible one, measures the rest
"""

from cuptime.app.replay.main import main

__all__ = ["main"]
