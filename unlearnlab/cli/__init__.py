"""The command line: one file a command; all that touches argparse."""
