"""The world: every environment as one stream of rows. Imports gymnasium, ale_py, numpy and cv2, never torch or the lab."""
