"""Brings a target up on loopback with real servers, and down again without a trace."""
