"""Who owns which shard. One node alone needs nobody's permission; etcd comes with several nodes."""
