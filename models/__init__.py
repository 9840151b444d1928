"""Estimators and the format their fitted state is kept in; no fitted state lives here."""
