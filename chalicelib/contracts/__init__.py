"""The shared kernel that the control plane, the agents and the command line agree on.

Standard library, msgspec and cedarpy only: no I/O, no clock, no randomness. Time and entropy are arguments. Every shape here
crosses a process boundary, so each has golden JSON under ``tests/golden``; unknown fields are ignored, missing ones are refused.
"""
