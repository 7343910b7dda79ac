"""Load plus faults against a real stack, and a verdict on how far the damage spreads."""

__version__ = "0.1.0"
