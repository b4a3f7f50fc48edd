"""Parts of `benches/wheel.py`: a measurement in a process of its own, how busy others were, the table."""
