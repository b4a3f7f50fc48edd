"""A seeded campus morning against the real service, and an audit of what it promised.

`plan` makes the morning, `load` sends it from processes of its own, `worker` executes tasks, `watch` listens to the
decisions, `audit` compares storage with what the clients were told, `report` shows it, `__main__` runs it all.
"""
