"""Measurements, as ratios against direct ssh in the same run. ``bench/README.md`` says how to read them."""
