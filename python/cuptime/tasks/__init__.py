"""Tasks: durable units of work with a due time. Life cycle, trigger, deliver, acknowledge, retry, recover.

The line, left to right; the caller is answered after `persist`, and everything right of it is rebuilt by `recover`:

    form -> enqueue (persist, answer) -> wheel (time) -> trigger -> ready -> delivery -> worker -> ends
                                                            \\-> internal runs  ---------------^

`line.TaskLine` puts the parts together and is what the API and the other capabilities talk to.
"""
