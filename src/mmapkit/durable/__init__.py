"""Transactions: many pages of a file changed at once, or none."""
