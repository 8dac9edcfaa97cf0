"""Answers requests of the page's scripts: returns errors as messages instead of raising."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec
from zlib import crc32

from pydantic import ValidationError

from unlearnlab.runs.store import StoreError

Answer = dict[str, Any]
P = ParamSpec("P")


def answering(
    malformed: str, *expected: type[Exception]
) -> Callable[[Callable[P, Answer]], Callable[P, Answer]]:
    """Answer `{"problem": ...}` where a request is malformed or cannot be carried out.

    Args:
        malformed: What to say of a request that has other fields than it should.
        expected: Exceptions beside `StoreError` whose text is what to say.
    """

    def decorate(answer: Callable[P, Answer]) -> Callable[P, Answer]:
        @wraps(answer)
        def answered(*args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                return answer(*args, **kwargs)
            except ValidationError:
                return {"problem": malformed}
            except (StoreError, *expected) as error:
                return {"problem": str(error)}

        return answered

    return decorate


def unless_same(answer: Answer, word: str) -> Answer:
    """Return an answer with its checksum, or only `same` if `word` is that checksum already."""
    found = f"{crc32(json.dumps(answer).encode()):08x}"
    return {"same": True} if found == word else {**answer, "word": found}
