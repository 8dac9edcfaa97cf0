"""The embedded target's byte-level BPE tokenizer, trained on its corpus."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOS, PAD = "<|endoftext|>", "<|padding|>"
EOS_ID, PAD_ID = 0, 1
"""Special tokens get the first ids, in this order."""


def train_tokenizer(
    texts: Iterable[str], *, vocab_size: int, context: int
) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts`, lossless on any text, in which every digit is one token."""
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
