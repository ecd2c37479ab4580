"""Methods text, references and BibTeX of exactly what ran."""
