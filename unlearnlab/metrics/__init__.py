"""Numbers: official scores, further measures, intervals, verdicts, labels, published results.

Pure functions of evidence.
"""
