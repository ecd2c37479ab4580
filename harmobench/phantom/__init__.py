"""The travelling-subjects phantom: a matched cohort whose truth is known."""
