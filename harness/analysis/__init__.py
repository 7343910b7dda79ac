"""From a run record to a verdict: pure functions, no stack, no network."""
