"""Opens the page: `python app.py`, the short form of `unlearnlab app`."""

import sys

from unlearnlab.cli.main import program

if __name__ == "__main__":
    program(["app", *sys.argv[1:]])
