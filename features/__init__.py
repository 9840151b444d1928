"""Records become snapshots: one row per customer at an instant."""
