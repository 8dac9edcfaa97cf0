"""Pure folds of runs into what a page, a report or a terminal shows."""
