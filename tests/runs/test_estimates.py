"""What a run will need: which part grows with what, and what earlier runs have to say."""

import time

import pytest

from tests.fakes import stage, stepped
from unlearnlab.models.catalog import models
from unlearnlab.runs.engine_api import Device, find_device
from unlearnlab.runs.estimates import (
    LOOKED_AT,
    PROGRAM,
    PastRun,
    bytes_text,
    earlier,
    estimate,
    past_run,
    training_seconds,
)
from unlearnlab.runs.events import GIB, Finished, StageBegan, Started
from unlearnlab.runs.memory import lengths
from unlearnlab.runs.store import Store
from unlearnlab.spec.rows import answered_at_once
from unlearnlab.spec.run import DataSpec, parse_spec, planned_steps


def spec_of(*, model=None, data=None, probes=0, **phase):
    return parse_spec(
        {
            "model": {"name": "olmo-1b"} | (model or {}),
            "data": data or {},
            "phases": [{"method": {"kind": "gradient_difference"}} | phase],
            "evaluation": {"probes": probes},
        }
    )


def training(spec, **known):
    return next(m for m in estimate(spec, **known).moments if m.name.startswith("training"))


def test_what_is_trained_has_an_original_and_two_moments_and_the_rest_only_weights():
    whole = training(spec_of()).parts
    some = training(spec_of(modules="mlp", first_layer=3, last_layer=5)).parts
    parameters = models()["olmo-1b"].architecture.parameters
    assert whole["weights"] == some["weights"] == 4 * parameters
    trained = 3 * 3 * 2048 * 8192 * 4
    assert some["original copies"] == trained
    assert some["optimizer"] == 2 * trained


def test_the_answers_of_a_large_model_take_a_share_of_the_device_and_no_more():
    """A 7B keeps half a megabyte of each token: 128 answers would take 20 GiB."""
    large = spec_of(model={"name": "olmo-7b", "precision": "bfloat16"})

    def scoring(memory):
        found = estimate(large, cuda=True, memory=memory)
        return found.moments[0].parts["evaluation"]

    assert scoring(None) > 20 * GIB
    assert scoring(80 * GIB) == pytest.approx(80 / 8 * GIB, rel=0.1)
    assert scoring(24 * GIB) == pytest.approx(24 / 8 * GIB, rel=0.1)
    assert 16 / 8 * GIB < scoring(16 * GIB) < 3 * GIB  # A forward pass for losses takes most.
    row = 512 * 2**10 * (64 + 256)
    assert [answered_at_once(row, memory * GIB) for memory in (1, 24, 1000)] == [1, 19, 128]


def test_an_adapter_needs_no_original_copies():
    parts = training(spec_of(model={"adapter": {"r": 8}})).parts
    assert parts["original copies"] == 0
    assert parts["optimizer"] < 0.01 * parts["weights"]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (spec_of(batch_size=4), spec_of(batch_size=16)),
        (spec_of(first_layer=12), spec_of()),
        (spec_of(model={"precision": "bfloat16"}), spec_of()),
        (spec_of(model={"gradient_checkpointing": True}), spec_of()),
        (spec_of(optimizer="adamw_8bit"), spec_of()),
        (
            spec_of(model={"precision": "nf4", "adapter": {"r": 8}}),
            spec_of(model={"precision": "int8", "adapter": {"r": 8}}),
        ),
        (spec_of(method={"kind": "gradient_ascent"}), spec_of()),
        (spec_of(), spec_of(method={"kind": "joint_kl"})),
        (spec_of(), spec_of(method={"kind": "task_vector"}, epochs=1, embeddings=True)),
    ],
)
def test_settings_that_save_memory_are_seen_to(less, more):
    assert training(less).total < training(more).total


def test_two_phases_keep_one_original_and_are_told_apart():
    phase = {"method": {"kind": "gradient_ascent"}, "modules": "mlp"}
    spec = parse_spec({"phases": [phase, phase | {"last_layer": 1}]})
    found = {moment.name: moment.parts for moment in estimate(spec).moments}
    first, second = found["training, phase 1"], found["training, phase 2"]
    assert first["original copies"] == second["original copies"]
    assert second["optimizer"] < first["optimizer"]


def test_a_merge_alone_needs_nothing_of_its_own():
    trained = {"method": {"kind": "gradient_ascent"}, "adapter_name": "a"}
    merge = {"method": {"kind": "ties_merge"}, "adapter_name": "merged"}
    phases = [trained, trained | {"adapter_name": "b"}, merge]
    spec = parse_spec({"model": {"adapter": {}}, "phases": phases})
    assert "training, phase 3" not in {moment.name for moment in estimate(spec).moments}


def test_a_model_whose_sizes_are_not_known_cannot_be_estimated():
    spec = spec_of().model_copy(
        update={"model": spec_of().model.model_copy(update={"name": "x/y"})}
    )
    with pytest.raises(ValueError, match="the sizes of x/y are not known"):
        estimate(spec)


def test_the_lengths_of_the_embedded_rows_are_guessed_closely():
    found = lengths(DataSpec(), "tiny-olmo")
    tokens = [row.whole for name in ("forget", "retain") for row in found.sets[name]]
    assert len(tokens) == found.scored == 608
    assert max(tokens) == pytest.approx(167, rel=0.12), "counted by the tokenizer"
    assert sorted(tokens)[len(tokens) // 2] == pytest.approx(23, rel=0.12)


def test_only_what_is_picked_is_trained_on_and_the_rest_can_be_retained():
    rows = DataSpec().known.rows("forget", "train")
    ids = [row.id for row in rows[:5]]
    left = lengths(DataSpec(forget=tuple(ids)), "tiny-olmo")
    moved = lengths(DataSpec(forget=tuple(ids), rest="retain"), "tiny-olmo")
    assert len(left.sets["forget"]) == len(moved.sets["forget"]) == 5
    assert len(moved.sets["retain"]) == len(left.sets["retain"]) + len(rows) - 5
    assert left.scored == 608


def past(spec, *, memory=2 * GIB, device="cpu, 2 threads", before_s=20.0, training_s=30.0):
    return PastRun(spec, device, memory, 1.0, before_s, training_s, 20.0)


def tiny(**phase):
    return spec_of(model={"name": "tiny-olmo"}, **phase)


def test_without_an_earlier_run_there_is_no_time_and_a_usual_size_of_the_program():
    found = estimate(tiny())
    assert found.seconds is None
    assert found.peak.parts["program"] == PROGRAM
    assert any("No earlier run" in note for note in found.notes)


def test_earlier_runs_tell_the_time_by_what_there_is_to_compute():
    same = estimate(tiny(epochs=4), [past(tiny(epochs=4))]).seconds
    twice = estimate(tiny(epochs=8), [past(tiny(epochs=4))]).seconds
    assert same == pytest.approx(1 + 30 + 20), "the original model's scores are known by now"
    assert twice == pytest.approx(1 + 60 + 20)


def test_what_the_original_model_scores_on_other_rows_has_to_be_measured():
    there = tiny(data={"fold": "validation"})
    found = estimate(tiny(), [past(there)]).seconds
    assert found is not None
    assert found > 20 * (608 / 136) * 2


def test_on_a_gpu_the_estimate_is_scaled_by_what_was_measured():
    spec = spec_of(model={"precision": "bfloat16"})
    plain = estimate(spec, cuda=True)
    measured = training(spec, cuda=True).total * 1.2
    runs = [past(spec, device="NVIDIA", memory=measured, before_s=0.0)] * 3
    found = estimate(spec, runs, cuda=True)
    assert found.factor == pytest.approx(1.2)
    assert found.peak.total == pytest.approx(1.2 * plain.peak.total)
    assert "Corrected by 3 earlier runs of this model here." in found.notes
    assert "program" not in found.peak.parts


def test_a_measurement_beyond_reason_corrects_only_so_far():
    spec = spec_of(model={"precision": "bfloat16"})
    assert estimate(spec, [past(spec, device="NVIDIA", memory=900 * GIB)], cuda=True).factor == 2


def test_on_a_cpu_earlier_runs_tell_how_large_the_program_is():
    spec = tiny()
    tensors = max(m.total for m in estimate(spec).moments if m.name != "scoring after")
    found = estimate(spec, [past(spec, memory=tensors + 0.7 * GIB)])
    assert found.peak.parts["program"] == pytest.approx(0.7 * GIB)


def test_runs_of_a_gpu_say_nothing_of_a_cpu():
    assert estimate(tiny(), [past(tiny(), device="NVIDIA")]).runs == 0


def test_an_earlier_run_is_read_from_its_events(tmp_path):
    with Store(tmp_path) as store:
        spec = tiny()
        for asked, ends in ((spec, True), (spec, False), (spec_of(), True)):
            run_id = store.create(asked)
            store.append(run_id, Started(versions={}, device="cpu, 2 threads"))
            began = {"loading": 0.0, "scoring before": 2.0, "training": 9.0, "saving": 30.0}
            for name, seconds in began.items():
                store.append(run_id, StageBegan(stage=name, seconds=seconds))
            for step in (1, 2):
                store.append(run_id, stepped(step))
            store.append(run_id, StageBegan(stage="scoring after", seconds=31.0))
            if ends:
                store.append(run_id, Finished(seconds=40.0))
        (found,) = earlier(spec, store.runs(), store.outline)
    assert (found.loading_s, found.before_s, found.training_s, found.after_s) == (2, 7, 21, 9)
    assert found.memory == 0.5 * GIB


def test_runs_that_trained_nothing_are_not_read_and_of_the_others_only_the_latest(tmp_path):
    with Store(tmp_path) as store:
        for spec in (tiny(), tiny().scoring):
            for _ in range(2 * LOOKED_AT):
                store.append(store.create(spec), Finished(seconds=1.0))
        read: list[str] = []

        def outline(run_id):
            read.append(run_id)
            return store.outline(run_id)

        assert earlier(tiny(), store.runs(), outline) == []
        trained = [row.run_id for row in store.runs() if not row.spec.only_scores]
        assert read == trained[:LOOKED_AT]


def test_a_run_that_took_no_step_tells_nothing():
    assert past_run(tiny(), [stage("loading"), Finished(seconds=3)]) is None


def test_an_estimate_is_there_at_once():
    spec = spec_of(model={"name": "olmo-7b"}, probes=12)
    runs = [past(tiny(epochs=epochs)) for epochs in range(1, 6)]
    estimate(tiny(), runs)
    began = time.process_time()
    for _ in range(5):
        estimate(spec)
        estimate(tiny(probes=12), runs)
    assert time.process_time() - began < 10 * 0.05


def test_the_device_that_is_meant_is_found():
    gpus = [Device(f"cuda:{n}", "GPU", free=10 * n, total=20) for n in (0, 1)]
    here = [*gpus, Device("cpu", "cpu, 2 threads", free=5, total=9)]
    assert find_device("auto", here) == find_device("cuda", here) == gpus[0]
    assert find_device("cuda:1", here) == gpus[1]
    assert find_device("all", here).free == 10
    assert find_device("all", here).cuda
    assert not find_device("cpu", here).cuda
    assert find_device("mps", here) is None
    assert find_device("auto", []) is None


def test_bytes_are_written_as_people_say_them():
    texts = [bytes_text(size) for size in (3 * 2**20, 0.5 * GIB, 12.34 * GIB)]
    assert texts == ["3 MiB", "0.5 GiB", "12 GiB"]


def test_a_run_that_only_scores_needs_nothing_for_training_and_less_time():
    whole = estimate(tiny(), [past(tiny())])
    alone = estimate(tiny().scoring, [past(tiny())])
    assert [moment.name for moment in alone.moments] == ["scoring"]
    assert alone.seconds is not None
    assert whole.seconds is not None
    assert alone.seconds < whole.seconds


def test_one_timed_batch_tells_the_time_of_all_steps_of_all_phases():
    spec = spec_of(batch_size=4, epochs=2, gradient_accumulation=2)
    (steps,) = planned_steps(spec)
    assert training_seconds(spec, 0.5) == steps * 2 * 0.5
    twice = spec.model_copy(update={"phases": spec.phases * 2})
    assert training_seconds(twice, 0.5) == pytest.approx(2 * steps * 2 * 0.5)
    small = spec.phases[0].model_copy(update={"modules": "down_proj", "first_layer": 15})
    mixed = spec.model_copy(update={"phases": (spec.phases[0], small)})
    assert steps < training_seconds(mixed, 0.5) < 2 * steps
