"""What the user asked for: YAML with positions, models, JSON Schema, resolution into a plan."""
