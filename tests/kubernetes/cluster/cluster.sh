#!/usr/bin/env bash
# Kubernetes on one node, for the tests: the real components in namespaces of their own (PID, mount, network, UTS, IPC, cgroup). The
# machine's interfaces, firewall, settings and files stay as they are; ending one process ends all of it, pods included. Needs root.
#
#   cluster.sh up               starts it; nothing if it runs; what a killed run left behind is cleared first
#   cluster.sh down [keep]      ends it and removes its state; keep: leaves the logs
#   cluster.sh status           nodes, pods, and the memory of each component
#   cluster.sh k ARGS…          kubectl
#   cluster.sh enter COMMAND…   runs it in the node
#   cluster.sh outside COMMAND… runs it in a network beside the node: a stranger
#   cluster.sh load ARCHIVE…    imports images
#
# STARLING_KUBE: the folder with the binaries. STARLING_KUBE_STATE: where everything is kept. STARLING_KUBE_OWNER: a process; when it is
# gone, the cluster ends by itself.
set -euo pipefail
home=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$home/common.sh"
# shellcheck source-path=SCRIPTDIR source=configuration.sh
source "$home/configuration.sh"
# shellcheck source-path=SCRIPTDIR source=images.sh
source "$home/images.sh"

# When a process began, in ticks since the machine did: with its number it names one process for ever.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Whether the cluster runs; sets `init`, the first process of its PID namespace, as the machine counts.
alive() {
  local ticks
  { read -r init ticks <"$state/run/init"; } 2>/dev/null && [[ -n $ticks && $(began "$init") == "$ticks" ]]
}

gone() { ! alive; }

# What clients remember of the API is this cluster's; another one may have had the same address.
client_environment=(KUBECONFIG="$state/conf/admin.kubeconfig" KUBECACHEDIR="$state/run/cache")

enter() {
  alive || fail "the cluster is not up"
  # nsenter has a child in the node's PID namespace, which would outlive it.
  exec nsenter --target "$init" --mount --net --pid --uts --ipc -- setpriv --pdeathsig KILL \
    env -C "$PWD" PATH="$bin:/usr/sbin:/usr/bin:/sbin:/bin" "${client_environment[@]}" "$@"
}

# The network is all that it needs of the node.
k() (
  alive || fail "the cluster is not up"
  exec env "${client_environment[@]}" nsenter --target "$init" --net -- "$bin/kubectl" "$@"
)

# --- cgroups ----------------------------------------------------------------------------------------------------------

# Prints the cgroups that become the roots of the cluster's own view: below ours where each controller has its hierarchy.
cgroup_folders() {
  local name controllers path
  name=starling-kube-$(printf '%s' "$state" | sha256sum | cut -c1-8)
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    printf '/sys/fs/cgroup/%s\n' "$name" # Ours holds processes, so in this version it can have no children with controllers.
    return
  fi
  while IFS=: read -r _ controllers path; do
    if [[ -n $controllers ]]; then printf '/sys/fs/cgroup/%s/%s\n' "${controllers#name=}${path%/}" "$name"; fi
  done </proc/self/cgroup
}

make_cgroups() {
  local folder file
  cgroup_folders >"$state/run/cgroups"
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    { echo '+cpu +cpuset +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control; } 2>/dev/null ||
      fail "the root of these cgroups (v2) gives no controllers to its children"
  fi
  while read -r folder; do
    mkdir -p "$folder" || fail "cannot make the cgroup $folder (are we root?)"
    if [[ -e $folder/cpuset.cpus && -e $folder/tasks ]]; then # Only the first version's: empty means none.
      for file in cpuset.cpus cpuset.mems; do cat "$(dirname "$folder")/$file" >"$folder/$file"; done
    fi
  done <"$state/run/cgroups"
}

cgroups_removed() {
  local folder left=0
  while read -r folder; do
    if [[ ! -d $folder ]]; then continue; fi
    find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done <"$state/run/cgroups"
  ((left == 0))
}

# The cgroups' names are this state's own: what still runs in them is a cluster whose state was removed while it ran.
clear_cgroups() {
  local folder strays=() process
  if [[ ! -e $state/run/cgroups ]]; then
    mkdir -p "$state/run"
    cgroup_folders >"$state/run/cgroups"
  fi
  mapfile -t strays < <(while read -r folder; do
    find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null
  done <"$state/run/cgroups" | sort -u | grep -vx 0) # Zero is one of another PID namespace.
  for process in "${strays[@]}"; do kill -KILL "$process" 2>/dev/null || true; done
  wait_until 10 "the cgroups to be empty" cgroups_removed || true
}

# --- up and down ------------------------------------------------------------------------------------------------------

init_found() { init=$(pgrep -P "$1") && [[ -n $init ]]; }

# Starts node.sh as the second process of new namespaces; tini, the first, buries what others leave behind.
start_node() {
  (
    cd /
    exec setsid env -i HOME=/ PATH="$PATH" STARLING_KUBE="$bin" STARLING_KUBE_STATE="$state" STARLING_KUBE_IMAGES="$images" \
      unshare --mount --propagation slave --net --uts --ipc --pid --fork --kill-child --mount-proc tini -s -- "$home/node.sh" join
  ) </dev/null >"$state/log/node.log" 2>&1 9>&- &
  wait_until 10 "the namespaces" init_found $! || return 1
  init_found $!
  printf '%s %s\n' "$init" "$(began "$init")" >"$state/run/init"
}

started() { [[ -e $state/run/started ]] || gone; }
node_ready() { [[ $(k get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }

start_cluster() {
  start_node && wait_until 180 "the components" started && alive || return 1
  wait_until 90 "the node to be ready" node_ready || return 1
  sed "s/ADDRESS/$dns_ip/" "$home/coredns.yaml" | k apply -f - >/dev/null || return 1
  k -n kube-system rollout status deployment/coredns --timeout=90s >/dev/null
}

# Ends the cluster when its owner, a process of the machine, is gone.
watch_owner() {
  local watched=$init
  tail --pid="$STARLING_KUBE_OWNER" -f /dev/null
  if alive && [[ $init == "$watched" ]]; then locked clear_state; fi
}

up() {
  if alive; then
    say "it is up"
    return
  fi
  ((EUID == 0)) || fail "it needs root"
  [[ -x $bin/kube-multi ]] || fail "$bin has no kube-multi: ./dev test kube builds it"
  clear_state
  mkdir -p "$state"/{run,log,volumes,conf/cni,conf/cni-bin}
  make_pki
  write_configuration
  ln -sf /usr/lib/cni/* "$state/conf/cni-bin/"
  ln -sf "$home/netpol.py" "$state/conf/cni-bin/netpol"
  images=$(make_images) || fail "the images could not be made"
  make_cgroups
  if ! start_cluster; then
    tail -n 8 "$state"/log/*.log >&2
    clear_state
    fail "it did not start"
  fi
  if [[ -n ${STARLING_KUBE_OWNER:-} ]]; then setsid "$home/cluster.sh" watch </dev/null >/dev/null 2>&1 9>&- & fi
  say "it is up"
}

# Whatever there is of a cluster ends; only its keys, its configuration and its logs stay.
clear_state() {
  if alive; then
    kill -KILL "$init" || true
    wait_until 30 "the processes to end" gone
  fi
  clear_cgroups
  # Their mount namespace is gone with them. Were it not, removing files here would remove what is mounted on them.
  if grep -qF " $state/" /proc/self/mountinfo; then fail "something is mounted below $state"; fi
  rm -rf "${state:?}"/{run,var,volumes}
}

down() {
  clear_state
  if [[ ${1:-} != keep ]]; then rm -rf "$state"; fi
  say "it is down"
}

# locked COMMAND…: one at a time, also of two tests that were started at once.
locked() {
  mkdir -p "$(dirname "$state")"
  (
    flock 9
    "$@"
  ) 9>"$state.lock"
}

status() {
  local process
  k get nodes,pods -A -o wide
  alive
  echo "MiB in memory, of each component:"
  for process in $(pgrep --ns "$init" --nslist pid); do
    awk '/^Name/ {name = $2} /^VmRSS/ {print int($2 / 1024), name}' "/proc/$process/status" 2>/dev/null || true
  done | awk '{sum[$2] += $1; all += $1} END {for (name in sum) print sum[name], name; print all, "together"}' | sort -rn
}

load() {
  local archive
  for archive in "$@"; do
    (enter ctr -n k8s.io images import "$(realpath "$archive")")
  done
}

command=${1:-}
if (($# > 0)); then shift; fi
case $command in
  up) locked up ;;
  down) locked down "$@" ;;
  status) status ;;
  k) k "$@" ;;
  enter) enter "$@" ;;
  outside) enter ip netns exec outside "$@" ;;
  load) load "$@" ;;
  watch) alive && watch_owner ;;
  *)
    sed -n '2,/^set /{/^set /!s/^# \?//p}' "$home/cluster.sh" >&2
    exit 2
    ;;
esac
