"""The command line: all that touches argparse and the terminal."""
