"""Cuptime schedules and dispatches beverage group-buys over gRPC."""

import os

# Must be set before anything imports grpc. grpcio 1.80 and later poll through EventEngine, which costs grpc.aio a fifth
# of its unary throughput: 14.3-15.8 k calls/s with it against 18.1-19.3 k without (grpcio 1.83.2, uvloop, one process,
# 290-byte requests, h2load with 8 connections x 16 streams), and 3.3 k against 3.7 k on a slower machine through SQLite
# (benches/service/bare_pipe.py, the same h2load; docs/figures.md). Measure again at each upgrade. An operator's own
# value wins.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

__version__ = "0.1.0"
