"""`cuptime replay`: a recorded delivery day, decided again under a simulated clock, judged by an evaluator of its own.

day          reads the files of one day
simulation   moves riders and time, and asks a dispatcher each minute
dispatchers  ours (rolling horizon over the core), and a greedy baseline
evaluator    knows neither: takes a plan, refuses an infeasible one, measures the rest
"""

from cuptime.app.replay.main import main

__all__ = ["main"]
