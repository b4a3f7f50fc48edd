"""The parts of `benches/line.py`: the server under load, the load processes, and the scenarios."""

import cuptime  # noqa: F401  (first: it sets the options of gRPC, which are read when gRPC is imported)
