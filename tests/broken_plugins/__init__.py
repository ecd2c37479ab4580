"""Plugins that break one rule each, in the way that an author in a hurry would."""
