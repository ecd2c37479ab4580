"""What the page concludes, in words: nothing is computed here."""
