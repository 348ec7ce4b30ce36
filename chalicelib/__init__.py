"""The control plane: who may reach what, and what happened."""
