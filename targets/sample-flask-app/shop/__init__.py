"""A small shop that breaks the way real ones do, and the two services it depends on."""
