"""The merged model of a run, as a wish to the engine, with its card."""

from pathlib import Path

from unlearnlab.exports.kinds import check_there
from unlearnlab.exports.model_card import card
from unlearnlab.exports.result import Result
from unlearnlab.runs.engine_api import Export

CARD = "README.md"


def model_folder(run_id: str) -> str:
    """Name the folder of a run's merged model."""
    return f"{run_id}-model"


def model_export(result: Result, where: Path) -> Export:
    """Ask for the merged model of a run.

    Args:
        result: Of the run.
        where: The folder that its folder is to lie in.

    Raises:
        NothingThere: The run left no weights, or their model is not on this machine.
    """
    check_there(result, "model")
    folder = where / model_folder(result.run_id)
    return Export(folder, {CARD: card(result)}, replace=_is_ours(folder, result.run_id))


def _is_ours(folder: Path, run_id: str) -> bool:
    """Tell whether a folder holds an earlier export of the run, which may be written over."""
    try:
        return f"`{run_id}`" in (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
