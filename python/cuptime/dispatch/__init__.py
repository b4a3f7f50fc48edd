"""Dispatch: which shop makes an order, which rider carries it, with what priority, or why nobody can.

    completed group -> DecisionLine: decide (core) -> reserve (gate) -> persist -> commit -> publish
                                        ^                |  refused: learn, decide again
                                        |                v
                     retry task  <- delay queue <- unassigned -> after the last retry: intervention

`resources` keeps shops and riders, in storage and in the core's dispatcher; `counters` keeps gate and dispatcher in
step; `line` decides; `retry` is the delay queue; `interventions` is where a person helps; `feed` tells watchers;
`reading` answers questions. What an order or a decision looks like on the wire is known to `ports.Bodies` alone.
"""
