"""Schedules: standing promises of what happens when. Registered, planned into tasks, changed and ended at run time.

Two phases. The planner looks over all schedules each minute and makes a task of every firing of the next five
minutes; from there on a firing is a task like any other, and the wheel triggers it to the millisecond. What is
registered or changed plans its own firings in the very commit that makes it durable, so it takes effect at once.

A firing is named by (schedule, generation, nominal time), and storage keeps one task for each name: planning a window
twice, over a crash or a clock that was set, makes no second one. Every change makes a new generation and cancels, in
the same commit, what the old one still had waiting: an old firing never fires, not even when the old timing comes back.
"""
