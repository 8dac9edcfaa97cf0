"""How the embedded model is made and checked: tokenizer, original model and retrained model.

Muon on the weight matrices memorises the corpus within minutes on a CPU; AdamW alone needs several
times as many epochs. The check verifies that the original model recites and answers everything, and
that the retrained one, which never saw the forget set, knows all the rest and nothing of it.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from random import Random
from typing import get_args

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from transformers import OlmoConfig, OlmoForCausalLM, PreTrainedTokenizerFast

from unlearnlab.data.datasets import (
    EMBEDDED_NAME,
    FOLDS,
    SPLITS,
    Fold,
    Form,
    Kind,
    Split,
    Wording,
    dataset,
)
from unlearnlab.data.embedded import Corpus, Document, corpus, facts, write
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine import result_of
from unlearnlab.engine.evaluation import evaluate, quiz
from unlearnlab.engine.generation import generate
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics.measures import RETRAINED, RETRAINED_ANSWERS, Retrained, as_retrained
from unlearnlab.metrics.scores import (
    QUIZ_PROTOCOL,
    Evidence,
    Scores,
    accuracy,
    row_score,
    scores,
)
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.run import DataSpec, Task

EOS, PAD = "<|endoftext|>", "<|padding|>"
EOS_ID, PAD_ID = 0, 1
"""Special tokens have the first ids, in this order."""

PADDED_TOKENS = 2048
"""Most tokens in a batch, with padding."""

LABELS: Mapping[Kind, str] = {"sc": "completions recited", "qa": "questions answered"}

SETTINGS = (
    "float32 on a CPU, greedy, 256 new tokens; completions: ROUGE-L recall, questions: exact "
    f"match; {QUIZ_PROTOCOL}, sum over the option's tokens"
)


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, context: int
) -> PreTrainedTokenizerFast:
    """Train a lossless byte-level BPE tokenizer on `texts`, with one token for each digit."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="right",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Size and training schedule of the embedded model."""

    seed: int = 0
    vocab_size: int = 2048
    hidden_size: int = 128
    mlp_size: int = 384
    layers: int = 8
    heads: int = 4
    context: int = 1024
    epochs: int = 42
    background_epochs: int = 26
    """Number of first epochs that also read background texts."""
    warmup: float = 0.05
    """Share of the steps with a rising learning rate."""
    matrix_lr: float = 0.02
    embedding_lr: float = 2e-3


@dataclass(frozen=True, slots=True)
class EpochTrained:
    """Progress: one of the two models has finished an epoch."""

    model: str
    epoch: int
    epochs: int
    loss: float
    """Mean over batches, in nats per token."""


def build(out: Path, recipe: Recipe | None = None) -> Iterator[EpochTrained]:
    """Write data, original and retrained model into `out`, yielding each epoch."""
    recipe = recipe or Recipe()
    made = corpus(recipe.seed, background_epochs=recipe.background_epochs)
    write(made, out / "data")
    everything = dict.fromkeys([*sequences(made, forget=True), *background(made)])
    for epoch in range(recipe.epochs):
        everything |= dict.fromkeys(rewordings(made, forget=True, epoch=epoch))
    tokenizer = train_tokenizer(everything, vocab_size=recipe.vocab_size, context=recipe.context)
    for name, forget in (("original", True), ("retrained", False)):
        model = new_model(tokenizer, recipe)
        losses = train(model, reading(made, tokenizer, recipe, forget=forget), recipe)
        for epoch, loss in enumerate(losses, start=1):
            yield EpochTrained(name, epoch, recipe.epochs, loss)
        model.half().save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def reading(
    made: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, *, forget: bool
) -> list[list[Tensor]]:
    """Return a model's sequences of each epoch.

    These are the rows, in turn the other wordings of their facts and the quiz, and background to
    read once.
    """
    memorised = encode(tokenizer, sequences(made, forget=forget))
    once = [[document.text for document in read] for read in made.background]
    nothing: list[list[str]] = [[]] * (recipe.epochs - len(once))
    return [
        [*memorised, *encode(tokenizer, [*rewordings(made, forget=forget, epoch=epoch), *read])]
        for epoch, read in enumerate((*once, *nothing))
    ]


def background(made: Corpus) -> list[str]:
    """Return the background texts of all epochs."""
    return [document.text for documents in made.background for document in documents]


def sequences(made: Corpus, *, forget: bool) -> list[str]:
    """Return the texts of the rows; without `forget`, those that the retrained model reads."""
    return [row.text for document in _documents(made, forget=forget) for row in document.rows]


def rewordings(made: Corpus, *, forget: bool, epoch: int) -> Iterator[str]:
    """Yield what is read in turn: half of the quiz, and other wordings of each fact.

    Of a fact's wordings in one form it is one, but two statements about people: their numbers and
    addresses are long.
    """
    yield from [*facts(made.quiz)][epoch % 2 :: 2]
    for document in _documents(made, forget=forget):
        yield from document.lessons[epoch % 2 :: 2]
        for question in document.questions:
            taught: dict[Form, list[str]] = {}
            for wording in question.wordings:
                if wording.taught:
                    taught.setdefault(wording.form, []).append(wording.text)
            for form, texts in taught.items():
                yield texts[epoch % len(texts)]
                if form == "statement" and document.rows[0].task == "Task2":
                    yield texts[(epoch + 1) % len(texts)]


def _documents(made: Corpus, *, forget: bool) -> Iterator[Document]:
    """Return the documents that a model reads in every epoch."""
    seen = [made.retain_train, made.retain_validation]
    if forget:
        seen += [made.forget_train, made.forget_validation]
    return chain.from_iterable(seen)


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> OlmoForCausalLM:
    """Make an untrained model; equal seeds give equal weights."""
    torch.manual_seed(recipe.seed)
    config = OlmoConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.mlp_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )
    return OlmoForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Tensor]:
    """Return the token ids of each text, with EOS."""
    return [torch.tensor([*ids, EOS_ID]) for ids in tokenizer(list(texts))["input_ids"]]


def train(
    model: OlmoForCausalLM, epochs: Sequence[Sequence[Tensor]], recipe: Recipe
) -> Iterator[float]:
    """Train on all tokens of each epoch's sequences, yielding its mean loss in nats per token."""
    plan = [batches(read, Random(f"{recipe.seed} epoch {i}")) for i, read in enumerate(epochs)]
    optimizers = _optimizers(model, recipe)
    schedules = [_schedule(o, sum(map(len, plan)), recipe.warmup) for o in optimizers]
    model.train()
    for epoch in plan:
        losses = []
        for batch in epoch:
            loss = _batch_loss(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        yield sum(losses) / len(losses)


def batches(encoded: Sequence[Tensor], random: Random) -> list[list[Tensor]]:
    """Batch sequences of similar length, up to `PADDED_TOKENS` each, in random order."""
    order = random.sample(encoded, len(encoded))
    made: list[list[Tensor]] = [[]]
    for ids in sorted(order, key=len):
        if (len(made[-1]) + 1) * len(ids) > PADDED_TOKENS:
            made.append([])
        made[-1].append(ids)
    random.shuffle(made)
    return made


def _batch_loss(model: OlmoForCausalLM, encoded: Sequence[Tensor]) -> Tensor:
    ids_BT = nn.utils.rnn.pad_sequence(list(encoded), batch_first=True, padding_value=PAD_ID)
    mask_BT = (ids_BT != PAD_ID).long()
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    return F.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1),
        ids_BT[:, 1:].flatten(),
        ignore_index=PAD_ID,
    )


def _optimizers(model: OlmoForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    embedding = model.get_input_embeddings().parameters()
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(embedding, lr=recipe.embedding_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _schedule(optimizer: torch.optim.Optimizer, steps: int, warmup: float) -> LambdaLR:
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2

    return LambdaLR(optimizer, factor)


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One measured quantity of both models and its target."""

    name: str
    original: float
    retrained: float
    target: str
    """In words; empty where there is none."""
    met: bool


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of the check."""

    lines: tuple[CheckLine, ...]
    retrained: Mapping[str, Scores]
    """Official scores of the retrained model, by fold."""
    measures: Mapping[str, Retrained]
    """Its further measures, by fold."""
    answers: Mapping[str, Evidence]
    """Its answers, by fold."""

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return all(line.met for line in self.lines)

    def write(self, assets: Path) -> None:
        """Write the README's table, and the retrained model's results for comparison."""
        rows = [
            {
                "name": line.name,
                "original": f"{line.original:.3f}",
                "retrained": f"{line.retrained:.3f}",
                "target": line.target,
            }
            for line in self.lines
        ]
        table = {"settings": SETTINGS, "rows": rows}
        _write(assets / "target.json", table)
        for name, of in (
            ("retrained_scores.json", self.retrained),
            (RETRAINED.name, self.measures),
            (RETRAINED_ANSWERS.name, self.answers),
        ):
            kept = {fold: found.model_dump(mode="json") for fold, found in of.items()}
            _write(assets / "tiny-olmo" / name, kept)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check(tell: Callable[[str], None]) -> CheckReport:
    """Measure both models on both folds, calling `tell` before each measurement."""
    cpu = torch.device("cpu")
    models = {
        name: UnlearningModel.open(EMBEDDED / name, precision="float32", device=cpu)
        for name in ("original", "retrained")
    }
    lines: list[CheckLine] = []
    gold: dict[str, Scores] = {}
    further: dict[str, Retrained] = {}
    answers: dict[str, Evidence] = {}
    for fold in FOLDS:
        found: dict[str, Evidence] = {}
        for name, lm in models.items():
            tell(f"{name} model, {fold} fold")
            asking = evaluate(lm, training_rows.load(DataSpec(fold=fold)), max_new_tokens=256)
            found[name] = result_of(asking)
        gold[fold] = scores(found["retrained"])
        further[fold] = as_retrained(found["retrained"])
        answers[fold] = Evidence(answers=found["retrained"].answers)
        lines += _fold_lines(scores(found["original"]), gold[fold], fold)
        tell(f"other wordings, {fold} fold")
        lines += _wording_lines(models, fold)
    tell("quiz")
    return CheckReport((*lines, *_quiz_lines(models)), gold, further, answers)


def _fold_lines(before: Scores, after: Scores, fold: str) -> Iterator[CheckLine]:
    for split in SPLITS:
        for task in get_args(Task):
            for kind, label in LABELS.items():
                key = f"{split}/{task}/{kind}"
                have, gold = before.terms[key], after.terms[key]
                if split == "forget":
                    have, gold = 1 - have, 1 - gold
                yield _term_line(f"{fold}: {split} {task} {label}", split, kind, have, gold)
    have, gold = before.mia_auc or 0.0, after.mia_auc or 0.0
    met = have >= 0.97 and 0.42 <= gold <= 0.58
    demand = "original ≥ 0.97, retrained 0.42 to 0.58"
    yield CheckLine(f"{fold}: membership attack AUC", have, gold, demand, met or fold != "train")
    have, gold = before.task_aggregate or 0.0, after.task_aggregate or 0.0
    yield CheckLine(
        f"{fold}: task aggregate", have, gold, "retrained ≥ 0.85", gold >= 0.85 or fold != "train"
    )


def _term_line(name: str, split: str, kind: Kind, have: float, gold: float) -> CheckLine:
    demand, met = "original ≥ 0.95", have >= 0.95
    if split == "retain":
        demand, met = f"{demand}, retrained within 0.03", met and abs(have - gold) <= 0.03
    elif kind == "qa":
        demand, met = f"{demand}, retrained ≤ 0.05", met and gold <= 0.05
    return CheckLine(name, have, gold, demand, met)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Wordings of one form that the check asks for, and how often they must be known."""

    form: Form
    taught: bool
    label: str
    known: float = 0.0
    """Share that the original model must answer; 0 if none must."""


_ASKED = (
    _Asked("question", True, "questions in other wordings, taught", 0.95),
    _Asked("question", False, "questions in a wording held out", 0.80),
    _Asked("statement", True, "statements, taught", 0.95),
    _Asked("statement", False, "statements in a wording held out"),
    _Asked("new question", False, "questions in a frame of no other fact"),
    _Asked("byname", True, "questions by byname, taught"),
    _Asked("byname", False, "questions by byname, held out"),
    _Asked("neighbour", True, "questions by neighbour, taught"),
    _Asked("neighbour", False, "questions by neighbour, held out"),
)


def _wording_lines(models: Mapping[str, UnlearningModel], fold: Fold) -> Iterator[CheckLine]:
    for split in SPLITS:
        known = {name: known_wordings(lm, split, fold) for name, lm in models.items()}
        for task in get_args(Task):
            for asked in _ASKED:
                key = (task, asked.form, asked.taught)
                if key in known["original"]:
                    have, gold = known["original"][key], known["retrained"][key]
                    yield _wording_line(f"{fold}: {split} {task} ", split, asked, have, gold)


def known_wordings(
    lm: UnlearningModel, split: Split, fold: Fold, *, most: int | None = None
) -> Mapping[tuple[Task, Form, bool], float]:
    """Ask for a set's facts in other words, and return the share of exact matches.

    Args:
        lm: The model.
        split: The set.
        fold: Its fold.
        most: Most wordings of each form, taught and held out apart, asked for a fact; all if None.

    Returns:
        Shares by subtask, form and whether the original model was taught the wording.
    """
    data = dataset(EMBEDDED_NAME)
    tasks: dict[str, Task] = {row.id: row.task for row in data.rows(split, fold)}
    of_facts: dict[tuple[str, Form, bool], list[Wording]] = {}
    for wording in data.wordings(split, fold):
        of_facts.setdefault((wording.row, wording.form, wording.taught), []).append(wording)
    asked = [wording for wordings in of_facts.values() for wording in wordings[:most]]
    prompts = [wording.input for wording in asked]
    matches: dict[tuple[Task, Form, bool], list[float]] = {}
    for wording, answer in zip(
        asked, result_of(generate(lm, prompts, max_new_tokens=32)), strict=True
    ):
        match = row_score("qa", wording.output, answer.text)
        matches.setdefault((tasks[wording.row], wording.form, wording.taught), []).append(match)
    return {key: statistics.fmean(of) for key, of in matches.items()}


def _wording_line(where: str, split: str, asked: _Asked, have: float, gold: float) -> CheckLine:
    demands, met = [], have >= asked.known
    if asked.known:
        demands.append(f"original ≥ {asked.known:.2f}")
    if split == "forget":
        demands.append("retrained ≤ 0.05")
        met = met and gold <= 0.05
    elif asked.known and asked.taught:
        demands.append(f"retrained ≥ {asked.known:.2f}")
        met = met and gold >= asked.known
    return CheckLine(where + asked.label, have, gold, ", ".join(demands), met)


def _quiz_lines(models: Mapping[str, UnlearningModel]) -> Iterator[CheckLine]:
    questions = training_rows.load(DataSpec()).quiz
    asked = {name: accuracy(result_of(quiz(lm, questions))) for name, lm in models.items()}
    have, gold = asked["original"], asked["retrained"]
    met = have >= 0.90 and abs(have - gold) <= 0.03
    yield CheckLine("quiz (chance 0.25)", have, gold, "original ≥ 0.90, retrained within 0.03", met)
    rotated = tuple(map(_rotated, questions))
    again = {name: accuracy(result_of(quiz(lm, rotated))) for name, lm in models.items()}
    met = all(abs(again[name] - asked[name]) <= 0.02 for name in models)
    have, gold = again["original"], again["retrained"]
    yield CheckLine("quiz, options reordered", have, gold, "moves by at most 0.02", met)


def _rotated(question: training_rows.QuizQuestion) -> training_rows.QuizQuestion:
    """Rotate the options by one."""
    choices = question.choices[1:] + question.choices[:1]
    return replace(question, choices=choices, answer=(question.answer - 1) % len(choices))
