"""Frame sinks: a video file, the terminal, a window, and a web page."""
