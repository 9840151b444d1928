"""Perennial: how likely each customer is to leave, what each is worth, what to do next."""
