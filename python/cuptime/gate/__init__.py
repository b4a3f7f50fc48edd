"""Live counters in front of storage: in process, or in Redis. Each fills the port :class:`cuptime.domain.ports.Gate`.

A cache, rebuilt from storage by `reset`. What both answer a refused reserve with: the key of the counter that has not
enough left; `released/{order_id}` when the order was released after this reserve was sent; `order/{order_id}` when the
order holds a different reservation; `reservations/{limit}` when there are too many. `in_process` is the default;
`redis` is imported only where it is configured.
"""
