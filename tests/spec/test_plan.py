"""What a run will do: trained parameters, and numbers as people type them."""

import pytest

from unlearnlab.models.catalog import models
from unlearnlab.spec.methods.likelihood import TiesMerge
from unlearnlab.spec.run import LoRA, ModelSpec, Phase, RunSpec, trainable_parameters, written


@pytest.mark.parametrize(
    ("number", "text"),
    [(5e-4, "5e-4"), (1.5e-5, "1.5e-5"), (0.05, "0.05"), (1, "1"), (1e-6, "1e-6")],
)
def test_small_numbers_are_written_as_people_type_them(number, text):
    assert written(number) == text
    assert float(text) == number


def test_all_blocks_and_the_embeddings_are_all_parameters():
    spec = RunSpec(phases=(Phase(embeddings=True),))
    assert (
        trainable_parameters(spec, spec.phases[0]) == models()["tiny-olmo"].architecture.parameters
    )


def test_an_adapter_trains_rank_times_inputs_and_outputs():
    size = models()["tiny-olmo"].architecture
    spec = RunSpec(
        model=ModelSpec(adapter=LoRA(r=4)), phases=(Phase(last_layer=0, modules="down_proj"),)
    )
    assert trainable_parameters(spec, spec.phases[0]) == 4 * (size.hidden + size.mlp_width)


def test_a_phase_may_choose_the_rank_that_it_trains_and_a_merge_trains_nothing():
    size = models()["tiny-olmo"].architecture
    part = Phase(last_layer=0, modules="down_proj", adapter_rank=8)
    phases = (
        part.model_copy(update={"adapter_name": "over"}),
        part.model_copy(update={"adapter_name": "under"}),
        Phase(method=TiesMerge()),
    )
    spec = RunSpec(model=ModelSpec(adapter=LoRA(r=4)), phases=phases)
    counts = [trainable_parameters(spec, phase) for phase in spec.phases]
    assert counts == [8 * (size.hidden + size.mlp_width)] * 2 + [0]
