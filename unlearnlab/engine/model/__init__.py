"""The model under training: loading, tokens, likelihoods, KV cache, devices."""
