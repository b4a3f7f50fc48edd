"""The rule matcher beside its peers: the same rules and orders for all, each engine behind the same door."""
