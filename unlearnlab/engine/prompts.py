"""How prompts and answers become tokens: as plain text, or as turns of the model's chat template.

Training, generation, scores, traces and free prompts all read the same tokens. As plain text, an
answer follows its prompt after one space, as in the task. Under a chat template, the prompt is the
user's turn and the answer the assistant's. Either way there is exactly one BOS where the tokenizer
adds one, also where the template writes its own.
"""

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

from transformers import AutoTokenizer

from unlearnlab.data.datasets import Row
from unlearnlab.engine.loading import Tokenizer, load_errors
from unlearnlab.runs.engine_api import PieceKind, TokenPreview
from unlearnlab.spec.run import ModelSpec, Template

Span = tuple[int, int]
"""Start and end of a token in its text, in characters."""

FIXED: Mapping[str, Any] = {"enable_thinking": False, "date_string": "26 Jul 2024"}
"""Variables that templates may read: answers without a train of thought, and a date that is the
same for every run (Llama's own default; its template would write the day of the run)."""

PROBE, REPLY = "Which bird sings at night?", "unlearnlab-reply"
"""A conversation that shows what a template puts around an answer."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """A prompt, alone or with an answer, as tokens."""

    text: str
    """What is read, with all that the template adds."""
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    """Place of each token in `text`; empty for special tokens that are not in it."""
    content: int
    """Place in `text` at which the prompt begins."""


class PromptFormat:
    """The tokens of prompts and answers, as plain text or under the tokenizer's chat template."""

    def __init__(self, tokenizer: Tokenizer, *, template: Template = "off") -> None:
        """Choose the format.

        Args:
            tokenizer: The tokenizer, which may have a chat template.
            template: `auto` uses the template if there is one.

        Raises:
            ValueError: `on`, but there is no template, or it cannot be rendered.
        """
        self.tokenizer = tokenizer
        self.available = bool(_default_template(tokenizer))
        """Whether the tokenizer has a chat template."""
        self.templated = template == "on" or (template == "auto" and self.available)
        """Whether prompts go through it."""
        if template == "on" and not self.available:
            raise ValueError(
                "data.chat_template: on: this model has no chat template: take off or auto"
            )
        self._lead, self.end = "", tokenizer.eos_token_id
        """Text between prompt and answer; the token that ends an answer."""
        if self.templated:
            self._learn_turns()

    @cached_property
    def plain(self) -> "PromptFormat":
        """The same tokenizer without the template."""
        return PromptFormat(self.tokenizer) if self.templated else self

    @property
    def digest(self) -> str:
        """Hash of the chat template in use, 12 hexadecimal digits; empty for plain text."""
        if not self.templated:
            return ""
        return hashlib.sha256(_default_template(self.tokenizer).encode()).hexdigest()[:12]

    def prompt(self, prompt: str) -> list[int]:
        """Return the tokens after which a model's answer begins."""
        return list(self._ids(self._prompt_text(prompt)))

    def answered(self, prompt: str, answer: str) -> list[int]:
        """Return the tokens of a prompt and its answer, without the token that ends it."""
        return list(self._ids(self._text(prompt, answer)))

    def tokenized(self, prompt: str, answer: str = "") -> Tokenized:
        """Return a prompt, and its answer unless empty, with the place of each token in the text.

        Raises:
            ValueError: The chat template changes the prompt, so that it cannot be found again, or
                the tokenizer does not tell places.
        """
        text = self._text(prompt, answer) if answer else self._prompt_text(prompt)
        encoded = self.tokenizer(
            text, return_offsets_mapping=True, add_special_tokens=not self.templated
        )
        if "offset_mapping" not in encoded:  # A tokenizer that is written in Python.
            raise ValueError("the model's tokenizer does not tell where in a text its tokens stand")
        ids, spans = list(encoded["input_ids"]), [tuple(one) for one in encoded["offset_mapping"]]
        begin, end = self._trimmed(ids)
        first = [self._bos] if self._lacks_bos(ids) else []
        # The answer may name the prompt too; in between there is only the template's own text.
        content = text.rfind(prompt.strip(), 0, len(text) - len(answer)) if self.templated else 0
        if content < 0:
            raise ValueError("the model's chat template changes this prompt: set template to off")
        content -= len(prompt) - len(prompt.lstrip()) if self.templated else 0
        return Tokenized(
            text,
            (*first, *ids[begin:end]),
            ((0, 0),) * len(first) + tuple(spans[begin:end]),
            content,
        )

    def answer_words(self, prompt: str, answer: str, tokens: int) -> list[tuple[str, range]]:
        """Cut an answer into words, each with the places of its tokens among the answer's.

        A token belongs to the word in which it ends; blanks belong to the word after them. The
        answer is one word where the tokenizer does not tell where its tokens lie.

        Args:
            prompt: The prompt.
            answer: Its answer.
            tokens: Count of the answer's tokens: the last ones of `answered`.
        """
        words = list(re.finditer(r"\S+", answer))
        if not words or not getattr(self.tokenizer, "is_fast", False):
            return [(answer.strip(), range(tokens))] if words else []
        text = self._text(prompt, answer)
        encoded = self.tokenizer(
            text, return_offsets_mapping=True, add_special_tokens=not self.templated
        )
        begin, end = self._trimmed(encoded["input_ids"])
        spans = encoded["offset_mapping"][begin:end][-tokens:] if tokens else []
        ends = [len(text) - len(answer) + word.end() for word in words]
        places = [min(bisect_left(ends, last), len(words) - 1) for _, last in spans]
        return [
            (word[0], range(bisect_left(places, at), bisect_right(places, at)))
            for at, word in enumerate(words)
        ]

    def _text(self, prompt: str, answer: str) -> str:
        if not self.templated:
            return f"{prompt} {answer}"
        return f"{self._prompt_text(prompt)}{self._lead}{answer}"

    def _prompt_text(self, prompt: str) -> str:
        if not self.templated:
            return prompt
        turns = self._rendered([{"role": "user", "content": prompt}], answering=True)
        return f"{turns}{self._header}"

    def _ids(self, text: str) -> Sequence[int]:
        ids = self.tokenizer.encode(text, add_special_tokens=not self.templated)
        begin, end = self._trimmed(ids)
        return [*([self._bos] if self._lacks_bos(ids) else []), *ids[begin:end]]

    def _trimmed(self, ids: Sequence[int]) -> tuple[int, int]:
        """Return the range without a second BOS, and without the EOS that some tokenizers add."""
        doubled = self._bos is not None and list(ids[:2]) == [self._bos] * 2
        added = 0 if self.templated else self._added_after
        return int(doubled), max(0, len(ids) - added)

    def _lacks_bos(self, ids: Sequence[int]) -> bool:
        """Whether the template wrote no BOS though the tokenizer adds one to plain text."""
        return self.templated and self._adds_bos and (not ids or ids[0] != self._bos)

    @cached_property
    def _bos(self) -> Any:
        return getattr(self.tokenizer, "bos_token_id", None)

    @cached_property
    def _adds_bos(self) -> bool:
        return self._bos is not None and self.tokenizer.encode("a")[:1] == [self._bos]

    @cached_property
    def _added_after(self) -> int:
        """Number of tokens that the tokenizer appends to a text."""
        last = self.tokenizer.encode("a", add_special_tokens=False)[-1:]
        whole = reversed(self.tokenizer.encode("a"))
        return next((count for count, token in enumerate(whole) if [token] == last), 0)

    def _learn_turns(self) -> None:
        """Find out what the template writes between prompt and answer, and what ends an answer."""
        self._header = ""
        turns = [{"role": "user", "content": PROBE}, {"role": "assistant", "content": REPLY}]
        opened = self._prompt_text(PROBE)
        before, found, after = self._rendered(turns, answering=False).partition(REPLY)
        if not found or PROBE not in opened:
            raise ValueError(
                "data.chat_template: the model's template leaves out the question or the answer: "
                "set it to off"
            )
        if before.startswith(opened):
            between = before.removeprefix(opened)
            # A template without a prompt for the answer: what precedes it belongs to the prompt.
            self._header, self._lead = (between, "") if between.strip() else ("", between)
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        closing = self.tokenizer.encode(after, add_special_tokens=False)
        self.end = next((one for one in closing if one in special), self.tokenizer.eos_token_id)

    def _rendered(self, turns: list[dict[str, str]], *, answering: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answering, **FIXED
            )
        except Exception as error:  # The template is a program of others: it may raise anything.
            told = str(error) or type(error).__name__
            raise ValueError(
                f"data.chat_template: the model's template cannot be used ({told}): set it to off"
            ) from error


def preview_tokens(model: ModelSpec, template: Template, row: Row) -> TokenPreview:
    """Return the tokens of one row as training reads them; loads the tokenizer alone.

    Raises:
        ValueError: The tokenizer is not on this machine, or has no usable chat template.
    """
    known = model.known
    if reason := known.unknown_reason or known.unavailable_reason:
        raise ValueError(f"model.name: {reason}")
    if known.to_download:
        raise ValueError(f"model.name: {known.title} is not on this machine: a run downloads it")
    with load_errors(known.tokenizer_folder):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            known.tokenizer_folder, trust_remote_code=False
        )
    prompts = PromptFormat(tokenizer, template=template)
    read = prompts.tokenized(row.input, row.output)
    pairs = zip(prompts.prompt(row.input), read.ids, strict=False)
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    first, end = read.content, read.content + len(row.input)
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}

    def piece(at: int, token: int, span: Span) -> tuple[int, str, PieceKind]:
        if token in special:
            return token, tokenizer.convert_ids_to_tokens(token), "special"
        kind: PieceKind = "template"
        if at >= start:
            kind = "answer"
        elif span[1] > first and span[0] < end:
            kind = "prompt"
        return token, read.text[slice(*span)], kind

    pieces = [piece(at, *one) for at, one in enumerate(zip(read.ids, read.spans, strict=True))]
    if prompts.end is not None:  # Some tokenizers leave it to the model's config.
        pieces.append((prompts.end, tokenizer.convert_ids_to_tokens(prompts.end), "special"))
    return TokenPreview(row.id, prompts.templated, tuple(pieces), start)


def _default_template(tokenizer: Tokenizer) -> str:
    held: Any = getattr(tokenizer, "chat_template", None)
    return (held.get("default") if isinstance(held, dict) else held) or ""
