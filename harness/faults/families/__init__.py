"""One file per family of faults; each registers itself in the catalogue."""
