"""An engine for a handful of rows: runs the Ibis expressions of features on NumPy, without planning anything."""
