"""Checks of rows: each finding has its count, its first rows and what to do about it.

Near-duplicates are found exactly, without comparing all pairs. A text is the set of its runs of
three words. Two sets that share a given part of themselves share one of their first few elements in
any common order (prefix filtering: Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007), so rare
elements come first and only texts that share one are compared.
"""

import math
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unlearnlab.data.datasets import Row

Severity = Literal["error", "warning"]

SHOWN = 20
"""Rows listed per finding."""

EXCERPT = 60
"""Longest excerpt, in characters."""

TOKEN_CHARS = 4
"""Approximate characters per token of English text, used where there is no tokenizer."""

RUN = 3
"""Consecutive words that make one element of a text's set."""

SHARE = 0.8
"""Share of common elements from which two texts count as near-duplicates."""

FEWEST = 8
"""Elements below which a text is too short to be looked for inside a document."""

ANSWER_WORDS = 10
"""Longest answer to a question, in words, where the type is guessed."""

TELLING = 5
"""Letters and digits from which an answer tells something by itself: "yes" and "1987" do not."""

ANSWER_TOLD = "answer in the retain set"
"""Kind of the finding that an answer to be forgotten stands in retain rows."""

LATIN = 0.5
"""ROUGE sees a text if at least this share of its letters are a to z."""

COMMON, FEW = 0.02, 3
"""Share of the retain rows, and their number, above which a lower-case word is a common one."""


class SourceError(ValueError):
    """Data cannot be read or saved. The message names the file, the reason and what to do."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One row that a finding lists."""

    split: str
    """Set and fold, such as `forget_train`."""
    line: int
    """Line of the row in its file, from 1."""
    id: str
    """Id from the file, else the generated one."""
    excerpt: str
    """Beginning of the text. It is personal data: show it only on demand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, however many rows have it."""

    kind: str
    severity: Severity
    """An error keeps the data from being added; a warning does not."""
    message: str
    count: int
    rows: tuple[Offender, ...] = ()
    """The first `SHOWN` rows."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A row with its set and line."""

    split: str
    line: int
    row: Row


SHAPELESS, JOINERS = r"\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff", r"\u200c\u200d"
"""Characters without a shape, as a part of a pattern's class: zero-width ones, the soft hyphen, and
what turns text around; and joiners, which belong to emoji and to some scripts."""

_UNSEEN = re.compile(f"[{SHAPELESS}]")

_NO_BREAK = re.compile("[\u00a0\u2007\u202f]")

# Between Latin letters they are a leftover.
_STRAY_JOINER = re.compile(f"(?<=[A-Za-z0-9])[{JOINERS}]|[{JOINERS}](?=[A-Za-z0-9])")


CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters other than white space."""


def unseen(text: str) -> bool:
    """Tell whether a text has characters that a reader cannot see or tell from a space."""
    return any(one.search(text) for one in (_UNSEEN, _NO_BREAK, _STRAY_JOINER))


def excerpt(text: str) -> str:
    """Return the beginning of a text, on one line; characters that cannot be seen are symbols."""
    line = " ".join(text[: 4 * EXCERPT].split())
    for hidden in (_UNSEEN, CONTROLS):
        line = hidden.sub("\N{REPLACEMENT CHARACTER}", line)
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def summarize(
    kind: str, severity: Severity, message: str, rows: Sequence[Offender | Placed]
) -> list[Finding]:
    """Make one finding of the rows that have a problem; none without rows.

    Args:
        kind: Short name of the problem.
        severity: Whether it keeps the data from being added.
        message: Text in the plural; `{count}` becomes the number of rows, and a count of 1 turns
            the text into the singular.
        rows: All of them; the first `SHOWN` are listed.
    """
    if not rows:
        return []
    text = message.replace("{count}", f"{len(rows):,}")  # It may quote braces of a file.
    if len(rows) == 1:
        for many, one in _SINGULAR.items():
            text = text.replace(many, one)
    shown = (
        Offender(row.split, row.line, row.row.id, excerpt(row.row.input))
        if isinstance(row, Placed)
        else row
        for row in rows[:SHOWN]
    )
    return [Finding(kind, severity, text, len(rows), tuple(shown))]


_SINGULAR: Mapping[str, str] = {
    "1 rows are ": "1 row is ",
    "1 rows have ": "1 row has ",
    "1 rows do ": "1 row does ",
    "1 rows repeat ": "1 row repeats ",
    "1 rows list ": "1 row lists ",
    "1 forget rows are ": "1 forget row is ",
    "1 forget rows have ": "1 forget row has ",
    "1 retain rows have ": "1 retain row has ",
    "1 retain rows hold ": "1 retain row holds ",
    "1 rows hold ": "1 row holds ",
    "1 rows differ ": "1 row differs ",
    "1 conversations have ": "1 conversation has ",
    "a number is added to the id of each": "a number is added to its id",
    "1 lines are not JSON objects": "1 line is not a JSON object",
    "1 lines are ": "1 line is ",
    "1 lines have ": "1 line has ",
    "them": "it",
}


def drop_duplicates(rows: Sequence[Placed]) -> tuple[list[Placed], list[Finding]]:
    """Keep the first of the rows of a set with equal texts, and report the others."""
    kept, repeats = _first_and_repeats(rows, lambda one: (one.split, one.row.input, one.row.output))
    message = "{count} rows repeat an earlier row of the same set: only the first is kept"
    return kept, summarize("duplicate", "warning", message, repeats)


def _first_and_repeats(
    rows: Sequence[Placed], key: Callable[[Placed], object]
) -> tuple[list[Placed], list[Placed]]:
    """Split rows into the first with each key, and the others."""
    seen: set[object] = set()
    first: list[Placed] = []
    repeats: list[Placed] = []
    for one in rows:
        (repeats if key(one) in seen else first).append(one)
        seen.add(key(one))
    return first, repeats


def check(rows: Sequence[Placed], nonmembers: Sequence[str]) -> list[Finding]:
    """Check rows against each other and against the membership attack's non-members.

    Args:
        rows: Rows of all sets and folds.
        nonmembers: Documents that the model was not trained on.
    """
    _, same_id = _first_and_repeats(rows, lambda one: one.row.id)
    answers: dict[tuple[str, str], str] = {}
    conflicting = [
        one
        for one in rows
        if answers.setdefault((one.split, one.row.input), one.row.output) != one.row.output
        and one.row.kind == "qa"
    ]
    forget = [one for one in rows if one.split.startswith("forget")]
    retain = [one for one in rows if one.split.startswith("retain")]
    kept = {(one.row.input, one.row.output) for one in retain}
    both = [one for one in forget if (one.row.input, one.row.output) in kept]
    same = {one.row.id for one in both}
    forgotten = {_texts(one) for one in both}
    told = answers_told(forget, [one for one in retain if _texts(one) not in forgotten])
    others = [one for one in forget if one.row.id not in same]
    near = near_duplicates([one.row.text for one in others], [one.row.text for one in retain])
    seen = contained([one.row.text for one in forget], nonmembers)
    return [
        *summarize(
            "repeated id",
            "error",
            "{count} rows have the id of another row: make ids unique, or leave the column out",
            same_id,
        ),
        *summarize(
            "another answer",
            "warning",
            "{count} rows repeat the question of an earlier row of the same set, with another "
            "answer: keep one of the answers",
            conflicting,
        ),
        *summarize(
            "no truth ratio",
            "warning",
            "{count} rows have only one of 'paraphrased_answer' and 'perturbed_answer', a list of "
            "texts: no truth ratio is computed for them",
            [
                one
                for one in rows
                if bool(one.row.paraphrased_answer) != bool(one.row.perturbed_answer)
            ],
        ),
        *summarize(
            "right answer among the wrong",
            "warning",
            "{count} rows list the right answer in 'perturbed_answer': remove it there, or truth "
            "ratios mean little",
            [
                one
                for one in rows
                if {one.row.paraphrased_answer, one.row.output} & set(one.row.perturbed_answer)
            ],
        ),
        *summarize(
            "in forget and retain",
            "error",
            "{count} forget rows are in the retain set as well: remove them from one of the two",
            both,
        ),
        *summarize(
            "near-duplicate",
            "warning",
            "{count} forget rows are nearly the same as a retain row: forgetting one works against "
            "retaining the other",
            [others[index] for index in near],
        ),
        *summarize(
            "among the non-members",
            "warning",
            "{count} forget rows are in the non-members, which the membership attack treats as "
            "unseen: remove them there",
            [forget[index] for index in seen],
        ),
        *summarize(
            ANSWER_TOLD,
            "warning",
            "{count} retain rows hold the answer of a forget row, or nearly: training on them "
            "keeps what is to be forgotten: remove them, or put other words there",
            told,
        ),
        *summarize(
            "other form",
            "warning",
            "{count} rows differ from another row in the form of their characters alone (composed "
            "or decomposed, or unseen characters): they look alike and count as unequal: keep one",
            twins(rows),
        ),
        *summarize(
            "decomposed letters",
            "warning",
            "{count} rows have letters with separate accents (not in form NFC): an answer that "
            "looks the same counts as wrong, unless it has them too: save the text in form NFC",
            [one for one in rows if _is_decomposed(one.row.text)],
        ),
        *summarize(
            "unseen characters",
            "warning",
            "{count} rows hold characters that cannot be seen, such as zero-width or no-break "
            "spaces or marks that turn text around: an answer that looks the same counts as wrong: "
            "remove them",
            [one for one in rows if unseen(one.row.text)],
        ),
        *_blind_rouge(rows),
    ]


def _texts(one: Placed) -> tuple[str, str]:
    return one.row.input, one.row.output


def _is_decomposed(text: str) -> bool:
    return len(unicodedata.normalize("NFC", text)) < len(text)


def plain_form(text: str) -> str:
    """Return a text as it looks: composed, without what cannot be seen, with plain spaces."""
    seen = _STRAY_JOINER.sub("", _UNSEEN.sub("", _NO_BREAK.sub(" ", text)))
    return unicodedata.normalize("NFC", seen)


def twins(rows: Sequence[Placed]) -> list[Placed]:
    """Find rows that look like an earlier row of any set, and are not equal to it."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    found: list[Placed] = []
    for one in rows:
        texts = _texts(one)
        look = plain_form(texts[0]), plain_form(texts[1])
        if first.setdefault(look, texts) != texts:
            found.append(one)
    return found


def seen_by_rouge(text: str) -> bool:
    """Tell whether ROUGE, which drops all but a to z and digits, sees `LATIN` of a text's letters.

    The score of another text rests on the few words that are left, or is 0 whatever is said.
    """
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return bool(re.search("[0-9]", text))
    return sum(letter.isascii() for letter in letters) >= LATIN * len(letters)


def _blind_rouge(rows: Sequence[Placed]) -> Iterator[Finding]:
    """Report completions that ROUGE does not see, for each set."""
    for split in dict.fromkeys(one.split for one in rows):
        of = [one for one in rows if one.split == split and one.row.kind == "sc"]
        blind = [one for one in of if not seen_by_rouge(one.row.output)]
        yield from summarize(
            "not counted by ROUGE",
            "warning",
            f"{{count}} of {len(of):,} expected answers hold hardly a letter that ROUGE counts (a "
            "to z): a completion recited word for word may score 0, as if forgotten: read its "
            "exact match, or ask for it as a question (--kind question)",
            blind,
        )


def answers_told(forget: Sequence[Placed], retain: Sequence[Placed]) -> list[Placed]:
    """Find the retain rows that hold the short answer of a forget row, in their words or nearly.

    Case, punctuation and a leading article do not count. Answers of fewer than `TELLING` letters
    and digits are left out, as is a lower-case word that many retain rows hold.
    """
    answers: dict[tuple[str, ...], set[int]] = {}
    common: set[tuple[str, ...]] = set()
    for one in forget:
        words = _answer_words(one.row.output)
        if len(words) <= ANSWER_WORDS and len("".join(words)) >= TELLING:
            answers.setdefault(words, set())
            if len(words) == 1 and one.row.output.islower():
                common.add(words)
    lengths: dict[str, set[int]] = {}
    for words in answers:
        lengths.setdefault(words[0], set()).add(len(words))
    for place, one in enumerate(retain):
        said = _words(one.row.text)
        for at, word in enumerate(said):
            for length in lengths.get(word, ()):
                if (run := tuple(said[at : at + length])) in answers:
                    answers[run].add(place)
    often = max(FEW, COMMON * len(retain))
    for words in common:
        if len(answers[words]) > often:
            del answers[words]
    held = {place for places in answers.values() for place in places}
    # A number that differs in one digit is another number.
    wordy = [text for words in answers if not re.search(r"\d", text := " ".join(words))]
    theirs = [" ".join(_answer_words(one.row.output)) for one in retain]
    held |= set(_pairs(theirs, wordy, whole=True, elements=_trigrams))
    return [retain[place] for place in sorted(held)]


def _answer_words(text: str) -> tuple[str, ...]:
    words = _words(text)
    return tuple(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


def too_long(rows: Sequence[Placed], context: int) -> list[Finding]:
    """Find rows that exceed a model's context, in tokens; a token counts as 4 characters."""
    return summarize(
        "longer than the context",
        "warning",
        f"{{count}} rows do not fit a context of {context:,} tokens, at {TOKEN_CHARS} characters "
        "per token: shorten them, or choose a model with a longer context",
        [
            one
            for one in rows
            if any(
                len(f"{one.row.input} {answer}") // TOKEN_CHARS > context
                for answer in (one.row.output, *one.row.alternatives)
            )
        ],
    )


# Near-duplicates

# A character of a script without spaces is a word of its own.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")

_BUCKETS = 1 << 20


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


def near_duplicates(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the index of each of `ours` that is nearly the same as one of `theirs`.

    Nearly the same: a Jaccard index of at least `SHARE`, ignoring case and punctuation.
    """
    return _pairs(ours, theirs, whole=True)


def contained(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    """Yield the index of each of `ours` that one of `theirs` contains to a share of `SHARE`.

    Texts of fewer than `FEWEST` elements are never yielded.
    """
    return _pairs(ours, theirs, whole=False)


def _pairs(
    ours: Sequence[str],
    theirs: Sequence[str],
    *,
    whole: bool,
    elements: Callable[[str], set[int]] | None = None,
) -> Iterator[int]:
    if not ours or not theirs:
        return
    of = elements or _elements
    # Elements that share a bucket make the order a little worse, never the result wrong.
    counts = array("I", bytes(4 * _BUCKETS))
    for text in (*ours, *theirs):
        for element in of(text):
            counts[element % _BUCKETS] += 1

    def rarest(elements: set[int]) -> list[int]:
        """Return the elements of which any near-duplicate has at least one."""
        ordered = sorted(elements, key=lambda one: (counts[one % _BUCKETS], one))
        return ordered[: len(ordered) - math.ceil(SHARE * len(ordered)) + 1]

    index: dict[int, list[int]] = {}
    for place, text in enumerate(theirs):
        theirs_of = of(text)
        for element in rarest(theirs_of) if whole else theirs_of:
            index.setdefault(element, []).append(place)
    for place, text in enumerate(ours):
        mine = of(text)
        if not whole and len(mine) < FEWEST:
            continue
        near = {other for element in rarest(mine) for other in index.get(element, ())}
        for other in map(of, (theirs[at] for at in near)):
            common = len(mine & other)
            if common / (len(mine) + len(other) - common if whole else len(mine)) >= SHARE:
                yield place
                break


def _elements(text: str) -> set[int]:
    words = _words(text)
    if len(words) < RUN:
        return {hash(tuple(words))} if words else set()
    return {hash(run) for run in zip(words, words[1:], words[2:], strict=False)}


def _trigrams(text: str) -> set[int]:
    return {hash(text[at : at + 3]) for at in range(len(text) - 2)}
