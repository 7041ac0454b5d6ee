#!/usr/bin/env bash
# names.sh DIR: keeps a file for each service in a directory of host names,
# which the DNS server watches.
set -uo pipefail
form='{.metadata.namespace}{" "}{.metadata.name}{" "}{.spec.clusterIP}{"\n"}'
while :; do
  kubectl --kubeconfig /run/kubernetes/admin.conf get services --all-namespaces --watch \
    --output jsonpath="$form" |
    while read -r namespace name address; do
      [[ $address == None ]] && continue
      echo "$address $name.$namespace.svc.cluster.local $name.$namespace.svc" >"$1/$namespace.$name"
    done
  sleep 0.2
done
