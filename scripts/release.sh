#!/bin/bash
# Builds what a release consists of into dist/: an archive of the program for each platform with its SBOM, the Helm chart and
# checksums. It builds what is committed, and the same commit gives the same bytes wherever it is built: nothing in them is of
# the machine or of the day.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "release: $*" >&2; exit 1; }
version=${1#v}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || fail "$1 is no version like v1.2.3"

dist=$PWD/dist
rm -rf "$dist"
mkdir "$dist"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source"
cd "$work/source"
SOURCE_DATE_EPOCH=$(git -C "$OLDPWD" log -1 --format=%ct)

# archive FILE FOLDER NAME... packs what is in a folder.
archive() {
    tar --create --directory "$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s \
        --format=ustar "${@:3}" | gzip --no-name --best >"$1"
}

echo "== page"
make --silent page
[[ -f web/dist/index.html ]] || fail "the page is not built"
go build -trimpath -o "$work/sbom" ./scripts/sbom

for platform in {linux,darwin,windows}/{amd64,arm64}; do
    echo "== $platform"
    GOOS=${platform%/*} GOARCH=${platform#*/}
    name=insights_${version}_${GOOS}_$GOARCH
    program=insights
    [[ $GOOS != windows ]] || program=insights.exe
    mkdir "$work/$name"
    GOOS=$GOOS GOARCH=$GOARCH CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=v$version" -o "$work/$name/$program" ./cmd/insights
    cp LICENSE README.md "$work/$name"
    [[ $GOOS != linux ]] || cp deploy/systemd/insights.{service,env} "$work/$name"
    archive "$dist/$name.tar.gz" "$work" "$name"
    "$work/sbom" -version "v$version" -page web/package-lock.json "$work/$name/$program" >"$dist/$name.cdx.json"
done

echo "== chart"
mkdir "$work/chart"
cp -r deploy/helm/insights "$work/chart"
sed -i "s/^version: .*/version: $version/; s/^appVersion: .*/appVersion: v$version/" "$work/chart/insights/Chart.yaml"
archive "$dist/insights-$version.tgz" "$work/chart" insights

cd "$dist"
sha256sum -- * >SHA256SUMS
ls -l
