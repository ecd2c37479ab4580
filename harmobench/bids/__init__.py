"""BIDS in and out: a cohort from a dataset, derivatives that validate, and the BIDS-App call."""
