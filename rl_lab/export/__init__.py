"""A trained agent and its episodes in formats of other programs: ONNX, TorchScript, Minari."""
