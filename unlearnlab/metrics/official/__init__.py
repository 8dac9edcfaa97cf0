"""Scores of a folder that the organisers' evaluation script left behind, without any model.

The script of SemEval-2025 Task 4 (`evaluate_generations.py`, December 2024) writes what the model
said to `forget_*.csv` and `retain_*.csv`, one file a process, and document losses to
`mia_results/`. Scores follow from these files and from the `metrics.json` of an MMLU evaluation.
"""
