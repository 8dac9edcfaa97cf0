"""The run loop: phases, schedules, optimizers, rules on gradients."""
