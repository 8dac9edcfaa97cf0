"""Families of causal language models: paths of their modules, and sizes of their parts.

Each family is one row of a table; everything else is generic. Sizes are written as letters that add
up: `QKK` is the total width of queries, keys and values.

    D hidden units · F MLP width · H width of a head · Q all query heads · K all key heads
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Modules = Literal["all", "mlp", "attention", "down_proj"]
"""Which matrices of a block are trained."""

Role = Literal["attention", "up_proj", "down_proj"]
"""Role of a matrix: attention, up to the MLP's width, down from it."""

ROLES: Mapping[Modules, tuple[Role, ...]] = {
    "mlp": ("up_proj", "down_proj"),
    "attention": ("attention",),
    "down_proj": ("down_proj",),
    "all": ("attention", "up_proj", "down_proj"),
}
"""Roles of the matrices in each choice of modules."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer of a block."""

    name: str
    """Path in the block."""
    role: Role
    inputs: str
    outputs: str
    bias: bool | str = False
    """Whether it has a bias, or the config key that says so."""


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table."""

    title: str
    matrices: tuple[Matrix, ...]
    norms: str
    """Sizes of a block's norms, weights and biases."""
    final_norm: str = "D"
    """Sizes of the norm after the last block."""
    blocks: str = "model.layers"
    """Path of the block list in the model."""
    attention: str = "self_attn"
    """Path of a block's attention."""
    mlp: str = "mlp"
    """Path of a block's MLP."""
    embeddings: str = "model.embed_tokens"
    """Path of the token embeddings in the model."""
    heads: tuple[str, ...] = ("lm_head",)
    """Names of the head in weight files, the present one last."""
    positions: bool = False
    """Whether the model has learned position embeddings."""
    mlp_ratio: int | None = None
    """Default MLP width, as a multiple of the hidden width, where the config may omit it."""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names in `config.json` that differ from the usual ones."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values where `config.json` omits a key."""

    def named(self, roles: Collection[Role]) -> tuple[str, ...]:
        """List the paths of the matrices with one of these roles."""
        return tuple(matrix.name for matrix in self.matrices if matrix.role in roles)


def _gated(attention: bool | str = "attention_bias", mlp: bool | str = False) -> tuple[Matrix, ...]:
    """Return the matrices of a Llama block."""
    return (
        Matrix("self_attn.q_proj", "attention", "D", "Q", attention),
        Matrix("self_attn.k_proj", "attention", "D", "K", attention),
        Matrix("self_attn.v_proj", "attention", "D", "K", attention),
        Matrix("self_attn.o_proj", "attention", "Q", "D", attention),
        Matrix("mlp.gate_proj", "up_proj", "D", "F", mlp),
        Matrix("mlp.up_proj", "up_proj", "D", "F", mlp),
        Matrix("mlp.down_proj", "down_proj", "F", "D", mlp),
    )


_QWEN2 = (
    Matrix("self_attn.q_proj", "attention", "D", "Q", True),
    Matrix("self_attn.k_proj", "attention", "D", "K", True),
    Matrix("self_attn.v_proj", "attention", "D", "K", True),
    *_gated(attention=False)[3:],
)

_PHI3 = (
    Matrix("self_attn.qkv_proj", "attention", "D", "QKK"),
    Matrix("self_attn.o_proj", "attention", "Q", "D"),
    Matrix("mlp.gate_up_proj", "up_proj", "D", "FF"),
    Matrix("mlp.down_proj", "down_proj", "F", "D"),
)

_GPT_NEOX = (
    Matrix("attention.query_key_value", "attention", "D", "DDD", "attention_bias"),
    Matrix("attention.dense", "attention", "D", "D", "attention_bias"),
    Matrix("mlp.dense_h_to_4h", "up_proj", "D", "F", True),
    Matrix("mlp.dense_4h_to_h", "down_proj", "F", "D", True),
)

_GPT2 = (
    Matrix("attn.c_attn", "attention", "D", "DDD", True),
    Matrix("attn.c_proj", "attention", "D", "D", True),
    Matrix("mlp.c_fc", "up_proj", "D", "F", True),
    Matrix("mlp.c_proj", "down_proj", "F", "D", True),
)

_GEMMA: Mapping[str, Any] = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "tie_word_embeddings": True,
}

FAMILIES: Mapping[str, Family] = {
    "olmo": Family("OLMo", _gated(), norms="", final_norm=""),
    "olmo2": Family("OLMo 2", _gated(), norms="DDQK"),
    "llama": Family("Llama", _gated(mlp="mlp_bias"), norms="DD"),
    "qwen2": Family("Qwen 2", _QWEN2, norms="DD", defaults={"num_key_value_heads": 32}),
    "qwen3": Family(
        "Qwen 3", _gated(), norms="DDHH", defaults={"num_key_value_heads": 32, "head_dim": 128}
    ),
    "mistral": Family(
        "Mistral", _gated(attention=False), norms="DD", defaults={"num_key_value_heads": 8}
    ),
    "gemma2": Family("Gemma 2", _gated(), norms="DDDD", defaults=_GEMMA),
    "gemma3_text": Family("Gemma 3 (text)", _gated(), norms="DDDDHH", defaults=_GEMMA),
    "phi3": Family("Phi 3", _PHI3, norms="DD"),
    "gpt_neox": Family(
        "GPT-NeoX (Pythia)",
        _GPT_NEOX,
        norms="DDDD",
        final_norm="DD",
        blocks="gpt_neox.layers",
        attention="attention",
        embeddings="gpt_neox.embed_in",
        heads=("embed_out", "lm_head"),
        defaults={"attention_bias": True},
    ),
    "gpt2": Family(
        "GPT-2",
        _GPT2,
        norms="DDDD",
        final_norm="DD",
        blocks="transformer.h",
        attention="attn",
        embeddings="transformer.wte",
        positions=True,
        mlp_ratio=4,
        keys={
            "num_hidden_layers": "n_layer",
            "hidden_size": "n_embd",
            "intermediate_size": "n_inner",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
        },
        defaults={"tie_word_embeddings": True},
    ),
}
"""Families by the `model_type` of their `config.json`."""


def family(model_type: str) -> Family:
    """Return the family of a `model_type`.

    Raises:
        ValueError: It is not supported.
    """
    if model_type not in FAMILIES:
        known = ", ".join(f"{row.title} ({name})" for name, row in FAMILIES.items())
        raise ValueError(
            f"model_type {model_type!r}: not a supported family; supported are {known}"
        )
    return FAMILIES[model_type]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a causal language model."""

    blocks: int
    hidden: int
    mlp_width: int
    heads: int
    vocabulary: int
    context: int
    tied: bool
    """Whether the output head shares the embedding matrix."""
    model_type: str = "olmo"
    """Key of its family in `FAMILIES`."""
    key_heads: int | None = None
    """Key and value heads; None means as many as `heads`."""
    head_width: int | None = None
    """Width of a head; None means `hidden // heads`."""
    biases: frozenset[str] = frozenset()
    """Config keys that give matrices a bias."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Architecture":
        """Take the sizes from the values of a `config.json`.

        Raises:
            ValueError: The family is not supported, or a size is missing.
        """
        model_type = config.get("model_type")
        if not isinstance(model_type, str):
            raise ValueError("config.json names no model_type")
        of = family(model_type)

        def found(key: str) -> Any:
            value = config.get(of.keys.get(key, key))
            return of.defaults.get(key) if value is None else value

        def size(key: str, otherwise: int | None = None) -> int:
            value = otherwise if found(key) is None else found(key)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"config.json: {of.keys.get(key, key)} is {value!r}, not a size")
            return value

        hidden, heads = size("hidden_size"), size("num_attention_heads")
        key_heads = size("num_key_value_heads", heads)
        head_width = size("head_dim", hidden // heads)
        return cls(
            blocks=size("num_hidden_layers"),
            hidden=hidden,
            mlp_width=size("intermediate_size", of.mlp_ratio and of.mlp_ratio * hidden),
            heads=heads,
            vocabulary=size("vocab_size"),
            context=size("max_position_embeddings"),
            tied=bool(found("tie_word_embeddings")),
            model_type=model_type,
            key_heads=None if key_heads == heads else key_heads,
            head_width=None if head_width == hidden // heads else head_width,
            biases=frozenset(
                matrix.bias
                for matrix in of.matrices
                if isinstance(matrix.bias, str) and found(matrix.bias)
            ),
        )

    @property
    def family(self) -> Family:
        """Return the row of its family."""
        return family(self.model_type)

    def block_parameters(self, modules: Modules) -> int:
        """Count the parameters of `modules` in one block."""
        return sum(
            self.width(matrix.inputs) * self.width(matrix.outputs)
            + (self.width(matrix.outputs) if self._biased(matrix) else 0)
            for matrix in self._matrices(modules)
        )

    def adapter_parameters(self, modules: Modules, rank: int) -> int:
        """Count the parameters of a low-rank adapter of `modules` in one block."""
        return rank * sum(
            self.width(matrix.inputs) + self.width(matrix.outputs)
            for matrix in self._matrices(modules)
        )

    @property
    def embedding_parameters(self) -> int:
        """Count the parameters of token embeddings and output head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Count all parameters."""
        of = self.family
        block = self.block_parameters("all") + self.width(of.norms)
        positions = self.context * self.hidden if of.positions else 0
        ends = self.embedding_parameters + positions + self.width(of.final_norm)
        return ends + self.blocks * block

    @property
    def cached_units(self) -> int:
        """Count the numbers in the KV cache per token."""
        return 2 * self.blocks * self.width("K")

    def _matrices(self, modules: Modules) -> Iterator[Matrix]:
        return (matrix for matrix in self.family.matrices if matrix.role in ROLES[modules])

    def _biased(self, matrix: Matrix) -> bool:
        return matrix.bias in self.biases if isinstance(matrix.bias, str) else matrix.bias

    def width(self, letters: str) -> int:
        """Add up the sizes behind letters of the table."""
        head = self.head_width or self.hidden // self.heads
        sizes = {
            "D": self.hidden,
            "F": self.mlp_width,
            "H": head,
            "Q": head * self.heads,
            "K": head * (self.key_heads or self.heads),
        }
        return sum(sizes[letter] for letter in letters)
