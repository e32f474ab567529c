"""Environments: specifications, constructors and the stream of rows. Imports gymnasium, ale_py, numpy and cv2 only."""
