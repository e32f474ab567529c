"""Where pictures of a game are shown: video file, terminal, window, web page."""
