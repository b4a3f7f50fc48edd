"""Settings, assembly (the one place that knows every adapter), life cycle, the command line and the main job."""
