"""What leaves a run: reports, tables, scripts, cards, packs. Pure functions, without torch.

The merged model is written by the engine (`engine.model.merged`); its card is written here.
"""
