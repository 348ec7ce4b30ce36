"""What the control plane does: one file per verb, plain functions that take ports."""
