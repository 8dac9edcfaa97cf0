"""Opens the page: `python app.py`."""

from unlearnlab.cli.app import program

if __name__ == "__main__":
    program()
