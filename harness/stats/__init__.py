"""Pure numpy/scipy functions on arrays; knows nothing of scenarios."""
