"""The run record on disk: its schema, its writer, its reader, its integrity."""
