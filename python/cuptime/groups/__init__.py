"""Groups: open them, admit their orders, complete or fail them.

    request bytes -> IntakeLine: admit (core) -> persist -> answer
                                      | full, past its deadline, or by call
                                      v
                                 COMPLETED -> dispatch.DecisionLine

`intake` is the hot line: it never looks into an order. `life` is the life of a group, `cancel` takes an order back,
`recover` rebuilds the admission table from storage, `registry` knows which groups are open, `watch` tells who watches.
"""
