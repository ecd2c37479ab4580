"""How far a run is, for who watches it."""
