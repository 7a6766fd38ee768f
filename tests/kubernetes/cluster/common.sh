# shellcheck shell=bash
# What cluster.sh and node.sh share. `bin` has the binaries, `state` all that the cluster writes, `images` the archives it begins with.
bin=${STARLING_KUBE:?names the folder with the binaries of Kubernetes (./dev test kube builds it)}
state=${STARLING_KUBE_STATE:?names the folder of the cluster}
images=${STARLING_KUBE_IMAGES:-}

say() { printf '[kube %3d s] %s\n' "$SECONDS" "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

exec {never}<> <(:) # A pipe in which nothing ever comes: a pause without a process.
pause() { read -r -t "$1" -u "$never" || true; }

# wait_until SECONDS WHAT COMMAND…: asks again and again; fails, and says for what it waited, when the time is over.
wait_until() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then
      say "waited in vain for $what"
      return 1
    fi
    pause 0.1
  done
}
