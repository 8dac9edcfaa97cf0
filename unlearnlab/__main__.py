"""`python -m unlearnlab`: the command line."""

from unlearnlab.cli.main import program

if __name__ == "__main__":
    program()
