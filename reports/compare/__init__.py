"""Several runs in one page and one set of tables, never mixed without saying so."""
