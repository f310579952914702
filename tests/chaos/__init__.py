"""Chaos with real processes: nodes with state are stopped, killed, frozen and cut off while others count on them."""
