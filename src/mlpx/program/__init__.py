"""The training program: one step as a plan, from data to gradient to update."""
