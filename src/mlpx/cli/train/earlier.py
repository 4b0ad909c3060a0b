"""The run that `mlpx train --resume` goes on from: one that ended, or one that was cut short."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlpx.cli.train.settings import OF_THE_RUN, Settings, TrainOptions
from mlpx.errors import CheckpointError, InputError
from mlpx.network.saved import Saved
from mlpx.training.checkpoint_files import latest, progress
from mlpx.training.history import History
from mlpx.training.kept import INVALID, from_table, history_in, run_of
from mlpx.training.run_folder import MODEL, config_beside, read_config, read_history
from mlpx.untrusted import brief


@dataclass(frozen=True)
class Earlier:
    """A run in a folder. `file` has its model, `config` its settings."""

    file: Path
    config: dict[str, Any]
    checkpoint: Saved | None = None
    """Of a run that was cut short, its latest checkpoint."""

    @classmethod
    def of(cls, folder: Path) -> Earlier:
        """Raises CheckpointError."""
        found = latest(folder)
        if found is None:
            return cls(folder / MODEL, read_config(folder))
        config = config_beside(found)
        if config is None:
            raise CheckpointError(
                f"{found.path} was written by fit, without the settings that `mlpx train` needs; "
                "go on with fit(checkpoint=..., resume=True)"
            )
        run_of(found)  # or it is refused
        return cls(found.path, config, found)

    def finished_by(self, settings: Settings) -> bool:
        """Whether a run with these settings finishes this one, as if it had not been cut short."""
        chosen = settings.config()
        return self.checkpoint is not None and all(
            chosen[name] == self.config.get(name) for name in OF_THE_RUN
        )

    def whole_plan(self, settings: Settings, options: TrainOptions) -> Settings:
        """For a run cut short: --epochs and --steps mean as many more than it has done."""
        assert self.checkpoint is not None
        assert self.checkpoint.state is not None
        run = run_of(self.checkpoint)
        if options.epochs is not None:
            begun = self.checkpoint.state.epoch - int(run["begun"][0])
            return replace(settings, epochs=begun + options.epochs)
        if options.steps is not None:
            return replace(settings, steps=int(run["steps_done"]) + options.steps)
        return settings

    def history(self, finishes: bool) -> History | None:
        """What came before the run that is to be trained; if it `finishes` this one, before this.

        Raises CheckpointError.
        """
        if self.checkpoint is None:
            return read_history(self.file.parent)
        try:
            kept = self.checkpoint.beside["before"]
            before = None if kept is None else History.from_dict(from_table(kept))
            if finishes:
                return before
            run = run_of(self.checkpoint)
            broken_off = History.from_dict(
                history_in(self.checkpoint) | {"step_loss": run["step_loss"]}
            )
            return broken_off if before is None else before.joined(broken_off)
        except INVALID as error:
            raise CheckpointError(f"{self.file} has no history of mlpx: {brief(error)}") from error


def resuming(folder: Path) -> str:
    """The command that goes on with the run in `folder`, to be pasted into a shell."""
    return f"mlpx train --resume {shlex.quote(str(folder))}"


def refuse_unfinished(folder: Path) -> None:
    """Raise InputError if the run in `folder` was cut short: another would replace it."""
    found = latest(folder)
    if found is None:
        return
    done, total = progress(found)
    if done < total:
        raise InputError(
            f"{folder} has a run that was cut short after {done:,} of {total:,} steps: finish it "
            f"with {resuming(folder)}, name another folder, or delete it"
        )
