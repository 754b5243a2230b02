"""One run: a budget, who works, what is known so far, and the folder it is kept in."""
