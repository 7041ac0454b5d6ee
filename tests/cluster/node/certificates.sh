# Keys and certificates of a cluster, for scripts that source this file.
#
#   certificates DIR ADDRESS   makes DIR/pki and a DIR/NAME.conf for each program
#
# Elliptic keys: a dozen of them are made in less time than one of RSA.

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# signed NAME SUBJECT [EXTENSION]: a key and its certificate, in $pki.
signed() {
  new_key "$pki/$1.key"
  openssl req -new -key "$pki/$1.key" -subj "$2" 2>/dev/null |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
      -days 30 -out "$pki/$1.crt" -extfile <(echo "${3:-}") 2>/dev/null
}

# credentials NAME SUBJECT: a kubeconfig with all in it.
credentials() {
  signed "$1" "$2"
  cat >"$pki/../$1.conf" <<T
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: https://10.243.0.1:6443
    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$pki/$1.crt")
    client-key-data: $(base64 -w0 "$pki/$1.key")
contexts:
- name: test
  context: {cluster: test, user: $1}
current-context: test
T
}

certificates() {
  local pki=$1/pki
  mkdir -p "$pki"
  new_key "$pki/accounts.key"
  new_key "$pki/ca.key"
  openssl req -x509 -key "$pki/ca.key" -subj /CN=test -days 30 -out "$pki/ca.crt"
  local names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
  names+=,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.96.0.1,IP:$2
  signed apiserver /CN=kube-apiserver "subjectAltName=$names"
  signed apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
  credentials admin /O=system:masters/CN=admin
  credentials controllers /CN=system:kube-controller-manager
  credentials scheduler /CN=system:kube-scheduler
  credentials proxy /CN=system:kube-proxy
  local node
  for node in pfs-node-1 pfs-node-2; do
    credentials $node /O=system:nodes/CN=system:node:$node
  done
}
