"""Recordings as lines of text: asciicast v3 for terminals, JSON lines for everything else."""
