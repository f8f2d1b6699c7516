"""`python -m tests.support.run_fuzzing PHOTOGRAPH FIRST LAST`: decodes the cases FIRST to LAST, in 2 GiB of memory.

Prints the number of each case before it is decoded, so that a crash leaves the name of what caused it; in the end how
many were decoded, how many refused, and the longest one's seconds.
"""

import resource
import sys
import time
from pathlib import Path

from model.data.encoding import encode
from model.data.images import ImageError, decode
from model.data.xmp import Mark
from tests.support.fuzzed import mutated, originals


def main(photograph: Path, first: int, last: int) -> None:
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
    files = originals(photograph.read_bytes())
    decoded = refused = 0
    slowest = (0.0, first)
    for case in range(first, last):
        print(case, flush=True)
        began = time.process_time()
        try:
            result = decode(mutated(files[case % len(files)], case))
            encode(result.pixels, result, Mark("colorize", "test"))
            decoded += 1
        except ImageError as error:
            if "MemoryError" in str(error):
                raise
            refused += 1
        slowest = max(slowest, (time.process_time() - began, case))
    print(f"decoded {decoded} refused {refused} slowest {slowest[0]:.2f} s, case {slowest[1]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
