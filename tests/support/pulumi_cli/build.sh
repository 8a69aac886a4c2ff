#!/usr/bin/env bash
# Builds the real Pulumi CLI from its Go module, once, into the user's cache; prints the binary's path.
# Beside it lie the JSON schemas of deployments that the same module ships.
set -euo pipefail
cd "$(dirname "$0")"

module=github.com/pulumi/pulumi/sdk/v3
version=$(sed -n "s|^\s*\(require \)\?github.com/pulumi/pulumi/pkg/v3 v\([0-9.]*\).*|\2|p" go.mod)
key=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/tickover/pulumi-$version-$key
if [ -x "$folder/pulumi" ]; then echo "$folder/pulumi"; exit 0; fi

# From 1.21 on, Go fetches by itself the newer toolchain that go.mod asks for.
found=$(go env GOVERSION 2>/dev/null || true)
minor=$(sed -n 's/^go1\.\([0-9]*\).*/\1/p' <<<"$found")
[ "${minor:-0}" -ge 21 ] || {
  echo "error: building the Pulumi CLI needs Go 1.21 or newer; ${found:-none} is on PATH." >&2
  echo "       On Debian or Ubuntu: apt-get install golang-go. Elsewhere: https://go.dev/dl" >&2
  echo "       Or set TICKOVER_PULUMI_CLI to a pulumi $version binary." >&2
  exit 2
}
mkdir -p "$folder"
exec 9>"$folder/.lock"
command -v flock >/dev/null && flock 9
if [ -x "$folder/pulumi" ]; then echo "$folder/pulumi"; exit 0; fi

echo "== building Pulumi CLI $version (some minutes, once; kept in $folder)" >&2
CGO_ENABLED=0 go build -o "$folder/pulumi.part" \
  -ldflags "-s -w -X $module/go/common/version.Version=v$version" \
  github.com/pulumi/pulumi/pkg/v3/cmd/pulumi >&2
mkdir -p "$folder/schemas"
cp "$(go list -m -f '{{.Dir}}' "$module")"/go/common/apitype/*.json "$folder/schemas/"
chmod u+w "$folder"/schemas/*.json
mv "$folder/pulumi.part" "$folder/pulumi"
echo "$folder/pulumi"
