"""Folders as the official script leaves them, small enough to score by hand."""

import csv
import json

CAT = "the cat sat down"

FORGET = [
    # ROUGE-L recalls 1 and 1/2: the term is 1 - 3/4. The ids carry quotes of their own.
    ('"0aa"sc1', "Task1", CAT, 'the cat sat "down"\nand slept'),
    ('"0ab"sc1', "Task1", CAT, "the dog sat"),
    # Case and outer spaces do not count, a full stop does: 1 - 1/2.
    ('"0aa"qa0', "Task1", "Ada", " ada\n"),
    ('"0ab"qa0', "Task1", "Bob", "Bob."),
    # One word of four: 1 - 1/4.
    ("b1sc1", "Task2", CAT, "down, it is"),
    # One of five: 1 - 1/5.
    ("b1qa0", "Task2", "1990-01-02", "1990-01-02"),
    ("b1qa1", "Task2", "123456789", "about 123456789"),
    ("b1qa2", "Task2", "5550100000", ""),
    ("b1qa3", "Task2", "a_b@me.com", "a_b@me,com"),
    ("b1qa4", "Task2", "1 Main Street", "2 Main Street"),
    # Nothing was said: 1 - 0.
    ("77sc1", "Task3", CAT, ""),
    # Silence is no answer, though pandas reads both as missing: 1 - 0.
    ("77qa0", "Task3", "None", ""),
    ("78qa0", "Task3", "Rome", "Paris"),
]

RETAIN = [
    ("c1sc1", "Task1", CAT, CAT),  # 1
    ("c1qa0", "Task1", "Ada", "Ada"),  # 1/2 with the next
    ("c2qa0", "Task1", "Bob", "Ada"),
    ("d1sc1", "Task2", CAT, "THE CATS SITTING DOWN!"),  # 3/4: cats is cat, sit is not sat.
    ("d1qa0", "Task2", "x", "X"),  # 1
    ("91sc1", "Task3", CAT, "the dog sat"),  # 1/2
    ("91qa0", "Task3", "one", "one"),  # 1/4 with the next three
    ("92qa0", "Task3", "two", "NA"),
    ("93qa0", "Task3", "three", "one"),
    ("94qa0", "Task3", "four", "one"),
]

TERMS = [1 / 4, 1 / 2, 3 / 4, 4 / 5, 1, 1, 1, 1 / 2, 3 / 4, 1, 1 / 2, 1 / 4]
"""What the twelve terms come to, in the script's order."""

AGGREGATE = 144 / 263
"""12 / (4 + 2 + 4/3 + 5/4 + 1 + 1 + 1 + 2 + 4/3 + 1 + 2 + 4)."""

BY_PANDAS = 144 / 275
"""The same where silence answers "None": one term is 1/2, as pandas reads both as missing."""

MEMBER, NONMEMBER = (1.0, 3.0), (2.0, 4.0)
"""The member has the lower loss in three of four pairs: AUC 3/4, MIA score 1/2."""

HEAD = ("id", "task", "input", "expected_output", "model_output", "nll")


def write_table(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([head, *rows])


def write_outputs(path, rows):
    write_table(path, HEAD, [(i, task, "prompt", want, got, 0.5) for i, task, want, got in rows])


def write_mia(folder, member=MEMBER, nonmember=NONMEMBER):
    for side, losses in (("member", member), ("nonmember", nonmember)):
        write_table(
            folder / "mia_results" / f"{side}_0.csv", ("id", "nll"), list(enumerate(losses))
        )


def submission(folder, *, average=0.5):
    """Write a whole folder: forget in three parts, as three processes would."""
    for part, rows in enumerate((FORGET[:3], FORGET[3:7], FORGET[7:])):
        write_outputs(folder / f"forget_{part}.csv", rows)
    write_outputs(folder / "retain_0.csv", RETAIN)
    write_mia(folder)
    (folder / "metrics.json").write_text(json.dumps({"average_acc": average}))
    return folder
