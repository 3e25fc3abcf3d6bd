"""Take a trained model out of a run and into the package: `python tools/ship_model.py RUN STAGE NAME`.

The folder astrosurvey/models/NAME is written, and the card gets what a training stage cannot put there because
its products are the same bytes on every machine: how long it took, and on what.
A model that `detection.calibrate` calibrated is shipped the same way.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from astrosurvey import Model
from astrosurvey.core.store import Store

MODELS = Path(__file__).resolve().parents[1] / "astrosurvey" / "models"


def main() -> None:
    """Copy the model that STAGE of the run directory RUN has trained to the built-in models as NAME."""
    run, stage, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    folder = Store(run).folder(stage, None)
    model = Model.read(folder / "model")
    facts = json.loads((folder / "task.json").read_text(encoding="utf-8"))["facts"]
    made = {
        "pipeline": f"examples/{run.name}.yaml",
        "pipeline_sha256": hashlib.sha256((run / "pipeline.yaml").read_bytes()).hexdigest(),
        "hours": round(facts["seconds"] / 3600, 2),
        "cpu_hours": round(facts["cpu_seconds"] / 3600, 2),
        "on": f"{facts['device']}, {platform.machine()}",
    }
    # A model that was only calibrated anew keeps what its card says of its training.
    block = "calibrated_on" if "calibrated_on" in model.card else "training"
    target = MODELS / name
    shutil.rmtree(target, ignore_errors=True)
    replace(model, card={**model.card, block: {**model.card[block], **made}}).write(target)


if __name__ == "__main__":
    main()
