"""Print pip constraints that pin every dependency to the lower bound pyproject.toml claims.

Run by .ci/run on the oldest Python, so that "jax>=0.10.0" and its like are tested, not hoped.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
groups = project["optional-dependencies"]
requirements = project["dependencies"] + groups["table"] + groups["test"] + groups["dev"]
requirements += groups["docs"]
for requirement in sorted(set(requirements)):
    # Constraints name no extras.
    name, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", requirement).groups()
    print(f"{name}=={bound}")
