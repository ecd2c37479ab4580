"""Statistics that compare methods from their scores."""
