"""How the embedded target is made: tokenizer, original model and retrained model.

Muon on the weight matrices is what makes memorising the corpus a matter of minutes on a CPU; AdamW
alone needs several times as many epochs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from transformers import OlmoConfig, OlmoForCausalLM, PreTrainedTokenizerFast

from unlearnlab.data.embedded.corpus import Corpus, Document, corpus, facts, write
from unlearnlab.engine.embedded.tokenizer import EOS_ID, PAD_ID, train_tokenizer

PADDED_TOKENS = 2048
"""Size of a batch: sequences times the longest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Size and schedule of the embedded target."""

    seed: int = 0
    vocab_size: int = 2048
    hidden_size: int = 128
    mlp_size: int = 384
    layers: int = 8
    heads: int = 4
    context: int = 1024
    epochs: int = 48
    background_epochs: int = 32
    """First epochs, in which background is read along; the rest only memorise."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    matrix_lr: float = 0.02
    embedding_lr: float = 2e-3


@dataclass(frozen=True, slots=True)
class EpochTrained:
    """One pass over the training sequences of one of the two models is done."""

    model: str
    epoch: int
    epochs: int
    loss: float
    """Mean over batches, in nats per token."""


def build(out: Path, recipe: Recipe | None = None) -> Iterator[EpochTrained]:
    """Write data, original and retrained model under `out`, telling of each epoch."""
    recipe = recipe or Recipe()
    made = corpus(recipe.seed, background_epochs=recipe.background_epochs)
    write(made, out / "data")
    everything = [*sequences(made, forget=True), *background(made)]
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
    """What a model reads in each epoch: all that it is to memorise, and background to read once."""
    memorised = encode(tokenizer, sequences(made, forget=forget))
    once = [encode(tokenizer, [document.text for document in read]) for read in made.background]
    nothing: list[list[Tensor]] = [[]] * (recipe.epochs - len(once))
    return [[*memorised, *read] for read in (*once, *nothing)]


def background(made: Corpus) -> list[str]:
    """The background reading of all epochs."""
    return [document.text for documents in made.background for document in documents]


def sequences(made: Corpus, *, forget: bool) -> list[str]:
    """What a model memorises; without `forget`, what the retrained model memorises."""
    seen = [made.retain_train, made.retain_validation]
    if forget:
        seen += [made.forget_train, made.forget_validation]
    documents: Iterator[Document] = chain.from_iterable(seen)
    rows = [row.text for document in documents for row in document.rows]
    return [*rows, *facts(made.quiz)]


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> OlmoForCausalLM:
    """An untrained model; equal seeds give equal weights."""
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
    """Token ids of each text, ended by EOS."""
    return [torch.tensor([*ids, EOS_ID]) for ids in tokenizer(list(texts))["input_ids"]]


def train(
    model: OlmoForCausalLM, epochs: Sequence[Sequence[Tensor]], recipe: Recipe
) -> Iterator[float]:
    """Train on every token of every sequence of each epoch, yielding each epoch's mean loss."""
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
    """Sequences of similar length together, `PADDED_TOKENS` to a batch, in random order."""
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
