#!/usr/bin/env bash
# The node, in namespaces of its own, which cluster.sh makes. It runs twice: `node.sh join` enters the cgroups that cluster.sh made and
# goes on as `node.sh run` in a cgroup namespace, whose root they are. All ends when this PID namespace's first process is killed.
set -euo pipefail
home=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$home/common.sh"
# shellcheck source-path=SCRIPTDIR source=configuration.sh
source "$home/configuration.sh"

join_cgroups() {
  local folder
  while read -r folder; do
    echo 0 >"$folder/cgroup.procs" # Zero is whoever writes.
  done <"$state/run/cgroups"
  exec unshare --cgroup "$home/node.sh" run
}

# Each hierarchy of the machine, with our own cgroup as its root.
mount_cgroups() {
  local controllers folder
  if [[ $cgroups == v2 ]]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # A cgroup that has children with controllers may hold no process itself.
    mkdir /sys/fs/cgroup/node
    echo 0 >/sys/fs/cgroup/node/cgroup.procs
    sed 's/[a-z]\+/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
    return
  fi
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    if [[ -z $controllers ]]; then continue; fi
    folder=/sys/fs/cgroup/${controllers#name=}
    mkdir "$folder"
    mount -t cgroup -o "${controllers/#name=/none,name=}" cgroup "$folder"
    if [[ $controllers == *,* ]]; then
      for controllers in ${controllers//,/ }; do ln -s "$folder" "/sys/fs/cgroup/$controllers"; done
    fi
  done </proc/self/cgroup
}

mount_all() {
  local name cgroups=v1
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then cgroups=v2; fi
  mount --make-rshared /
  mount -t tmpfs -o mode=755 run /run
  mkdir -p /run/{containerd,netns,lock,sysctl}
  mkdir -p "$state"/var/{log,kubelet,containerd,cni,etcd}
  mount --bind "$state/var/log" /var/log
  # The machine's own /var/lib is nobody's business here, and need not have folders of these names.
  mount -t tmpfs -o mode=755 lib /var/lib
  for name in kubelet containerd cni etcd; do
    mkdir "/var/lib/$name"
    mount --bind "$state/var/$name" "/var/lib/$name"
  done
  mount -t sysfs sysfs /sys # As this network namespace sees it.
  mount_cgroups
  mount --bind "$state/conf/hosts" /etc/hosts
  mount --bind "$state/conf/resolv.conf" /etc/resolv.conf
  # The kubelet sets these, and they belong to the whole machine: it sets copies.
  for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    cat "/proc/sys/$name" >"/run/sysctl/${name//\//.}"
    mount --bind "/run/sysctl/${name//\//.}" "/proc/sys/$name"
  done
}

# The node is a bridge; at its other end lies a namespace `outside`, from where strangers come and where pods must not get to.
make_network() {
  hostname "$node"
  ip link set lo up
  ip link add node0 type bridge
  ip address add "$node_ip/24" dev node0
  ip link set node0 up
  ip netns add outside
  ip link add outside type veth peer name eth0 netns outside
  ip link set outside master node0 up
  ip -n outside link set lo up
  ip -n outside address add "$outside_ip/24" dev eth0
  ip -n outside link set eth0 up
  ip -n outside route add default via "$node_ip"
  ip route add default via "$outside_ip"
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1
}

run() { # NAME COMMAND…
  "${@:2}" >>"$state/log/$1.log" 2>&1 &
}

start_apiserver() {
  local pki=$state/pki
  run kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 \
    --advertise-address="$node_ip" --service-cluster-ip-range="$service_cidr" --endpoint-reconciler-type=lease \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP,Hostname \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
    --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
    --profiling=false --event-ttl=2h --audit-policy-file="$state/conf/audit.yaml" --audit-log-path="$state/log/audit.log"
}

start_controllers() {
  local conf=$state/conf
  run kube-controller-manager kube-controller-manager --bind-address=127.0.0.1 --leader-elect=false --allocate-node-cidrs=false \
    --kubeconfig="$conf/controllers.kubeconfig" --authentication-kubeconfig="$conf/controllers.kubeconfig" \
    --authorization-kubeconfig="$conf/controllers.kubeconfig" --use-service-account-credentials \
    --service-account-private-key-file="$state/pki/sa.key" --root-ca-file="$state/pki/ca.crt" \
    --cluster-signing-cert-file="$state/pki/ca.crt" --cluster-signing-key-file="$state/pki/ca.key"
  run kube-scheduler kube-scheduler --bind-address=127.0.0.1 --leader-elect=false --kubeconfig="$conf/scheduler.kubeconfig" \
    --authentication-kubeconfig="$conf/scheduler.kubeconfig" --authorization-kubeconfig="$conf/scheduler.kubeconfig"
}

import_images() {
  local archive
  wait_until 60 "containerd" test -S /run/containerd/containerd.sock
  for archive in "$images"/*.tar; do
    ctr -n k8s.io images import "$archive" >>"$state/log/import.log" 2>&1
  done
}

ready() { curl --silent --insecure --max-time 2 https://127.0.0.1:6443/readyz | grep -q '^ok'; }

run_node() {
  mount_all
  make_network
  PATH=$bin:/usr/sbin:/usr/bin:/sbin:/bin
  # What a test loses with the machine it would lose anyway: no fsync.
  run etcd etcd --name node --data-dir /var/lib/etcd --unsafe-no-fsync --snapshot-count 20000 \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  run containerd containerd -c "$state/conf/containerd.toml"
  start_apiserver
  import_images &
  local importing=$!
  wait_until 120 "the API server" ready
  start_controllers
  run netpol python3 "$home/netpol.py" serve --server "$node_ip:6443" --pki "$state/pki"
  run volumes python3 "$home/volumes.py" --server "$node_ip:6443" --pki "$state/pki" --folder "$state/volumes" --node "$node"
  wait_until 30 "the network policies" test -S /run/netpol.sock
  wait "$importing"
  run kubelet kubelet --config="$state/conf/kubelet.yaml" --kubeconfig="$state/conf/kubelet.kubeconfig" --root-dir=/var/lib/kubelet \
    --hostname-override="$node" --node-ip="$node_ip" --node-labels=kubernetes.io/os=linux -v=2
  run kube-proxy kube-proxy --config="$state/conf/proxy.yaml" -v=2
  touch "$state/run/started"
  wait
}

case ${1:-} in
  join) join_cgroups ;;
  run) run_node ;;
  *) fail "cluster.sh starts this" ;;
esac
