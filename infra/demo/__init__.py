"""``make demo``: the whole gateway on one machine, and a tour that plays its main job with the real programs."""
