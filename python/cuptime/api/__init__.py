"""The doors: gRPC endpoints, proto <-> domain, errors on the wire, limits. Knows the capabilities, never an adapter."""
