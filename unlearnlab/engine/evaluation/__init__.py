"""Scoring a model: answers, likelihoods, MMLU and the official definitions."""
