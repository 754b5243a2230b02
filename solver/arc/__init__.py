"""ARC's own things: tasks and their files, the named data sets, the hash of a pair, what supports say of outputs."""
