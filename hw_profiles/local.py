"""Where the profile of this machine lies, which `pare profiles calibrate` writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# (platform, variable that names the user's data folder, that folder where it is not set)
_FOLDERS = {
    "win32": ("LOCALAPPDATA", "AppData/Local"),
    "darwin": ("XDG_DATA_HOME", "Library/Application Support"),
}
_OTHERS = ("XDG_DATA_HOME", ".local/share")


def local_profile_path() -> Path:
    """Return the path of this machine's profile, in the user's data folder; there may be no such file.

    XDG Base Directory Specification: a variable that is empty or no absolute path counts as not set.
    """
    variable, folder = _FOLDERS.get(sys.platform, _OTHERS)
    given = Path(os.environ.get(variable, ""))
    base = given if given.is_absolute() else Path.home() / folder
    return base / "onnx-pare" / "local.yaml"
