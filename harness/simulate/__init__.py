"""A discrete-event model of a stack under load: the same arrivals, faults and record as a measured run, in seconds."""
