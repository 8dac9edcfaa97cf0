"""What can be taken away from a run: one file per kind, each a pure function of its result.

No torch here: the merged model is the engine's work (`engine.merged`), its card is written here.
"""
