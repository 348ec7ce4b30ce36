"""Pure rules that only the control plane needs: no I/O, no clock, no chance."""
