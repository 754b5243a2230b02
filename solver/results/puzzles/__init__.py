"""`tinyarc puzzle`: a system trained on a puzzle, scored with intervals, and pictures of what it does."""
