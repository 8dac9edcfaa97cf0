import pytest

from unlearnlab.runs.queue import ANY, assign_devices, candidate_devices

ONE_GPU = ("cuda:0", "cpu")
TWO_GPUS = ("cuda:0", "cuda:1", "cpu")


@pytest.mark.parametrize(
    ("wish", "devices", "expected"),
    [
        ("auto", TWO_GPUS, [("cuda:0",), ("cuda:1",)]),
        ("auto", ("mps", "cpu"), [("mps",)]),
        ("auto", ("cpu",), [("cpu",)]),
        ("all", TWO_GPUS, [("cuda:0", "cuda:1")]),
        ("cuda", TWO_GPUS, [("cuda:0",)]),
        ("cuda:1", TWO_GPUS, [("cuda:1",)]),
        ("cpu", TWO_GPUS, [("cpu",)]),
    ],
)
def test_a_job_takes_the_device_it_names_and_auto_any_accelerator(wish, devices, expected):
    assert candidate_devices(wish, devices) == expected


@pytest.mark.parametrize("wish", ["all", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_left_to_the_first_one_to_refuse(wish):
    assert candidate_devices(wish, ("cpu",)) == [("cpu",)]


@pytest.mark.parametrize("wish", ["auto", "all", "cuda:1", "cpu"])
def test_a_single_lab_takes_everything(wish):
    assert candidate_devices(wish, (ANY,)) == [(ANY,)]


@pytest.mark.parametrize(
    ("wishes", "busy", "expected", "kept"),
    [
        (["auto", "auto", "auto"], [], [("cuda:0",), ("cuda:1",), ()], {"cuda:0", "cuda:1"}),
        (["auto"], ["cuda:0"], [("cuda:1",)], {"cuda:0", "cuda:1"}),
        (["cuda:0", "cpu"], ["cuda:0"], [(), ("cpu",)], {"cuda:0", "cpu"}),
        ([], ["cuda:0"], [], {"cuda:0"}),
    ],
)
def test_what_waits_takes_what_is_free_in_its_order(wishes, busy, expected, kept):
    assert assign_devices(wishes, TWO_GPUS, busy) == (expected, kept)


def test_a_job_for_all_gpus_is_not_overtaken_for_ever():
    """Later ones leave alone what it waits for; a job for the CPU is in nobody's way."""
    found, kept = assign_devices(["all", "auto", "cuda:1", "cpu"], TWO_GPUS, ["cuda:0"])
    assert found == [(), (), (), ("cpu",)]
    assert kept == set(TWO_GPUS)


def test_the_only_gpu_is_waited_for_while_the_cpu_idles():
    assert assign_devices(["auto"], ONE_GPU, ["cuda:0"]) == ([()], {"cuda:0"})
