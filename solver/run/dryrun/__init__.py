"""What a run would do, before it is run: a few steps are measured, and the real planner runs on a simulated clock."""
