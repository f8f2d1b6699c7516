"""Stands in for CUDA's libraries where there is no GPU: `python without_cuda.py TORCH_LIB OUT`; takes gcc.

The lock's torch is linked against CUDA and does not even import without its 3 GB of libraries. So this builds one
library that has every function torch asks of them, and gives it all their names. Each function answers 100, which is
cudaErrorNoDevice: torch finds no GPU, as with the real ones on a machine without.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

_NAME = "libwithout_cuda.so"
_OF_CUDA = "(?:cu|nccl|nv)"
_NEEDED = re.compile(rf"\(NEEDED\).*\[(lib{_OF_CUDA}(?!da\.)[\w.]+)\]")  # libcuda.so, the driver, is loaded later
_UNDEFINED = re.compile(rf" UND (_*{_OF_CUDA}\w+)(?:@([\w.]+))?")
_TELLS = re.compile(r"Get(?:Error|Status)(?:String|Name)$|^ncclGetLastError$")


def main(torch: Path, out: Path) -> None:
    """Writes the library and the links to it, for what lies in torch's folder of libraries."""
    out.mkdir(parents=True)
    names: set[str] = set()
    versions: dict[str, set[str]] = defaultdict(set)  # of symbols: the loader insists on them
    for library in torch.glob("*.so"):
        names.update(_NEEDED.findall(_readelf("--dynamic", library)))
        for symbol, version in _UNDEFINED.findall(_readelf("--dyn-syms", library)):
            versions[version or "unversioned"].add(symbol)
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch) / "without_cuda.c", Path(scratch) / "versions"
        source.write_text("\n".join(map(_function, sorted(set().union(*versions.values())))), encoding="utf-8")
        nodes = (f"{version} {{ {'; '.join(sorted(symbols))}; }};" for version, symbols in sorted(versions.items()))
        script.write_text("\n".join(nodes), encoding="utf-8")
        flags = ("-shared", "-fPIC", "-nostdlib", "-s", f"-Wl,--version-script={script}", f"-Wl,-soname,{_NAME}")
        subprocess.run(["gcc", *flags, "-o", out / _NAME, source], check=True)
    for name in names:
        (out / name).symlink_to(_NAME)


def _function(name: str) -> str:
    if _TELLS.search(name):
        return f'const char *{name}(void) {{ return "this image has no CUDA"; }}'
    return f"int {name}(void) {{ return 100; }}"


def _readelf(part: str, library: Path) -> str:
    return subprocess.run(["readelf", "--wide", part, library], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
