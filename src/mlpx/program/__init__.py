"""The training program: one step as a plan, from the data through the gradient to the update."""
