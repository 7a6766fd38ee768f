# shellcheck shell=bash
# The keys and the configuration files of the cluster. Sourced by cluster.sh; all is written below $state.

node=node0
node_ip=10.20.0.2 outside_ip=10.20.0.1
pod_cidr=10.244.0.0/24 service_cidr=10.96.0.0/16 api_ip=10.96.0.1 dns_ip=10.96.0.10

# certificate FILE COMMON_NAME ORGANISATION USAGE [NAMES]: a key and a certificate of the cluster's CA, unless they are there.
certificate() {
  local file=$state/pki/$1 extensions
  if [[ -s $file.crt ]]; then return; fi
  extensions="basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=$4${5:+
subjectAltName=$5}"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$file.key" -subj "/O=$3/CN=$2" 2>/dev/null |
    openssl x509 -req -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -CAcreateserial -days 30 \
      -extfile <(printf '%s\n' "$extensions") -out "$file.crt" 2>/dev/null
}

# client FILE COMMON_NAME ORGANISATION: a certificate for a client of the API, and its kubeconfig.
client() {
  certificate "$1" "$2" "$3" clientAuth
  cat >"$state/conf/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$node_ip:6443", certificate-authority: $state/pki/ca.crt}}]
users: [{name: user, user: {client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
YAML
}

make_pki() {
  local pki=$state/pki service=kubernetes.default.svc
  # They live for 30 days: a state that somebody kept for longer gets new ones.
  if [[ -n $(find "$pki/ca.crt" -mtime +20 2>/dev/null) ]]; then rm -rf "$pki"; fi
  mkdir -p "$pki" "$state/conf"
  if [[ ! -s $pki/sa.pub ]]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=test-cluster \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
    openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null # It signs the tokens of service accounts.
    openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  fi
  certificate apiserver kube-apiserver kube serverAuth \
    "IP:$node_ip,IP:$api_ip,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local"
  certificate kubelet-server "system:node:$node" system:nodes serverAuth "IP:$node_ip,DNS:$node"
  certificate apiserver-kubelet apiserver-kubelet-client system:masters clientAuth
  certificate front-proxy front-proxy-client kube clientAuth
  client admin admin system:masters
  client controllers system:kube-controller-manager kube
  client scheduler system:kube-scheduler kube
  client proxy system:kube-proxy kube
  client kubelet "system:node:$node" system:nodes
}

write_configuration() {
  local conf=$state/conf
  # Names are looked up in the cluster or not at all: nothing leaves the node.
  echo "nameserver $dns_ip" >"$conf/resolv.conf"
  printf '127.0.0.1 localhost\n%s %s\n' "$node_ip" "$node" >"$conf/hosts"
  write_kubelet >"$conf/kubelet.yaml"
  write_proxy >"$conf/proxy.yaml"
  write_containerd >"$conf/containerd.toml"
  write_network >"$conf/cni/10-pods.conflist"
  cat >"$conf/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, verbs: [create, update, patch, delete]}, {level: None}]
YAML
}

# failCgroupV1: the kubelet would refuse a machine that still has the first version, as many VMs do.
write_kubelet() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/kubelet-server.crt
tlsPrivateKeyFile: $state/pki/kubelet-server.key
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $state/conf/resolv.conf
failSwapOn: false
maxPods: 60
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
serializeImagePulls: false
YAML
}

# conntrack: its sizes belong to the whole machine, and are left as they are.
write_proxy() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $state/conf/proxy.kubeconfig}
clusterCIDR: $pod_cidr
hostnameOverride: $node
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

# Every pod has a pair of interfaces of its own to the node, so that what it sends passes the node's firewall. netpol comes last: it
# lets the pod start when the policies for its address are in force.
write_network() {
  cat <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": true, "mtu": 1400,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}},
  {"type": "netpol"}]}
JSON
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no score can be lowered.
write_containerd() {
  local snapshotter=overlayfs
  if [[ $(stat -f -c %T "$state") == overlay* ]]; then snapshotter=native; fi # There are no overlays on overlays.
  cat <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$state/conf/cni-bin"
conf_dir = "$state/conf/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$snapshotter"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
TOML
}
