"""The model under training: loading, devices, hooks, adapters, token likelihoods."""
