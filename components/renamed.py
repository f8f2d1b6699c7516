"""Old commands `python -m MODULE` and what they are called now. Delete this file in the next release."""

import re
import sys

RENAMED = {
    "components.preprocess": "colorize step preprocess",
    "components.inspect": "colorize step inspect",
    "components.train": "colorize step train",
    "components.evaluate": "colorize step evaluate",
    "components.register": "colorize step register",
    "components.provenance": "colorize steps --code",
    "pipeline.cli": "colorize",
    "pipeline.data": "colorize data",
    "pipeline.images": "colorize images build",
    "pipeline.shipped": "colorize models export, or colorize models import",
    "pipeline.inference_service": "kubectl kustomize, with k8s/components/kserve in the overlay",
}
"""Old module -> the new command."""


def reject_old_module() -> None:
    """Ends the program with status 2 and the new command if Python was started with an old module.

    Python imports the packages of a module before it runs the module, and `sys.argv[0]` is "-m" until then.
    """
    if sys.argv[:1] != ["-m"]:
        return
    words = [*sys.orig_argv[1:], ""]
    option = next((number for number, word in enumerate(words) if re.match("-[A-Za-z]*m", word)), -1)  # -m, -Im, -mNAME
    module = words[option].partition("m")[2] or words[option + 1]
    if module in RENAMED:
        print(f"`python -m {module}` is now `{RENAMED[module]}`.", file=sys.stderr)
        raise SystemExit(2)
