"""Settings, assembly (the one place that knows every adapter), life cycle, the command line, the campus morning and the
replay."""
