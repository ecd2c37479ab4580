"""The scans' pictures in the page, and which subjects are worth looking at."""
