"""The words of the embedded corpus."""

import pytest

from unlearnlab.data.vocabulary import corpus_words, spelled
from unlearnlab.metrics.measures import retrained_answers


def test_names_made_of_parts_are_words_of_the_corpus():
    assert {"mallowwell", "abberbridge", "heron"} <= corpus_words()
    assert not {"hing", "stringher", "wellmallow"} & corpus_words()


@pytest.mark.parametrize("fold", ["train", "validation"])
def test_the_rows_of_the_embedded_data_are_written_in_the_corpus_words(fold):
    rows = retrained_answers()[fold].answers
    words = [word for row in rows for word in spelled(row.expected)]
    unknown = [word for word in words if word not in corpus_words()]
    assert len(unknown) < 0.1 * len(words)


def test_words_are_stretches_of_letters_in_small_ones():
    assert spelled("Ada's 12ab_cd!") == ["ada", "s", "ab", "cd"]
    assert spelled("Jose\u0301") == ["jos\u00e9"]
