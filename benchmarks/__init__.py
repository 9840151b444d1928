"""Figures measured side by side in one run, and the generated company they share."""
