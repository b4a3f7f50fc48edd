"""The parts of `benches/line.py`: the server under load, the load processes, and the scenarios."""
