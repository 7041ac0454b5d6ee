#!/usr/bin/env bash
# Plays examples/iris from nothing, in a scratch directory with a server of its
# own, printing every command as a user would type it. Exits non-zero at the
# first step that is not as it should be; leaves nothing behind either way.
set -euo pipefail
# shellcheck source=scripts/server.sh
source "$(dirname "$0")/server.sh"
venv=$("$checkout/scripts/venv.sh")
started=$SECONDS

scratch_start demo
iris=$checkout/examples/iris
# What a user in a checkout would have at hand, by shorter names.
ln -s "$iris" iris
ln -s "$checkout/examples/here" "$SCRATCH/bin/here"

chapter() { printf '\n== %s\n' "$*"; }

# Prints a command line and runs it.
run() {
  printf '$ %s\n' "$1"
  eval "$1"
}

# Checks what a command line prints; the demo ends when it is something else.
expect() {
  local said
  said=$(eval "$1")
  if [[ $said != "$2" ]]; then
    printf 'error: %s\n  says:  %s\n  wants: %s\n' "$1" "$said" "$2" >&2
    exit 1
  fi
}

# Checks that a command line prints a line matching the pattern.
expect_line() {
  local said
  said=$(eval "$1")
  if ! grep -Eq "$2" <<<"$said"; then
    printf 'error: no line like %s in what %s says:\n%s\n' "$2" "$1" "$said" >&2
    exit 1
  fi
}

chapter 'A server: state in a directory, one process'
printf '$ pfs serve &\n'
server_start
run 'pfs version'

chapter 'Data: the iris flowers, of which the training set knows two species so far'
printf '$ python3 iris/code/data.py data\n'
"$venv/bin/python3" iris/code/data.py data
run 'pfs create repo training'
run 'pfs create repo attributes'
run 'pfs put file training@master:/iris.csv -f data/iris.csv'
run 'pfs put file attributes@master:/test1.csv -f data/test1.csv'
run 'pfs put file attributes@master:/test2.csv -f data/test2.csv'
run 'pfs list repo'
run 'pfs list file attributes@master'

chapter 'Pipelines: pre-process, train, infer'
run 'here iris/pre-process.json | pfs create pipeline -f -'
run 'here iris/train.json | pfs create pipeline -f -'
run 'here iris/infer.json | pfs create pipeline -f -'
run 'pfs wait commit inference@master'
run 'pfs list pipeline'
run 'pfs list job --expand'

chapter 'Results: a mount shows every repo as a directory'
run 'mkdir mnt'
run 'pfs mount -d mnt'
run 'ls mnt'
run 'cat mnt/inference/test1.csv'
expect 'cat mnt/inference/test1.csv' $'Iris-setosa\nIris-versicolor\nIris-versicolor'
expect 'cat mnt/inference/test2.csv' $'Iris-setosa\nIris-versicolor\nIris-versicolor'
first=$(sha256sum <mnt/train/model.pkl)
echo '  (the third flower is a virginica; a model that never saw one cannot say so)'

chapter 'A second commit: append the third species through a writable mount'
run 'mkdir edit'
run 'pfs mount -d -r training@master+w edit'
run 'cat data/virginica.csv >> edit/training/iris.csv'
run 'pfs umount edit'
run 'pfs list commit training@master'
expect 'cat mnt/training/iris.csv | wc -l' 141

chapter 'The retraining it triggers'
run 'pfs wait commit inference@master'
run 'pfs list job --expand'
run 'pfs logs --pipeline train'
expect_line 'pfs logs --pipeline train' '141 rows, 3 species'
run 'cat mnt/inference/test1.csv'
expect 'cat mnt/inference/test1.csv' $'Iris-setosa\nIris-versicolor\nIris-virginica'
expect 'cat mnt/inference/test2.csv' $'Iris-setosa\nIris-versicolor\nIris-virginica'

chapter 'Three workers: the spec changes, the data do not, so every datum is skipped'
run "sed 's/\"constant\": \"1\"/\"constant\": \"3\"/' iris/infer.json > iris3.json"
ln -s "$iris/code" code
run 'here iris3.json | pfs update pipeline -f -'
run 'pfs wait commit inference@master'
run 'pfs list job --pipeline inference'
expect_line 'pfs list job --pipeline inference' '0 \+ 2 / 2 '

chapter 'Provenance: what this inference was made of'
run 'pachctl inspect-commit inference master'
for repo in attributes training pre_process train; do
  expect_line 'pachctl inspect-commit inference master' "Provenance:.*\b$repo/[0-9a-f]{32}"
done

chapter 'Time travel: both models are there, by ordinary paths'
run 'ls -l mnt/train@master^/model.pkl mnt/train/model.pkl'
run 'wc -l mnt/training@master^/iris.csv mnt/training/iris.csv'
run 'mkdir then now'
printf '$ python3 iris/code/infer.py mnt/train@master^/model.pkl data/test3.csv then\n'
"$venv/bin/python3" iris/code/infer.py mnt/train@master^/model.pkl data/test3.csv then
printf '$ python3 iris/code/infer.py mnt/train/model.pkl data/test3.csv now\n'
"$venv/bin/python3" iris/code/infer.py mnt/train/model.pkl data/test3.csv now
run 'paste then/test3.csv now/test3.csv'
expect 'tail -n 1 then/test3.csv' Iris-versicolor
expect 'tail -n 1 now/test3.csv' Iris-virginica
expect 'sha256sum < mnt/train@master^/model.pkl' "$first"

chapter 'The end: unmount, check the store, stop'
run 'pfs umount mnt'
run 'pfs fsck'
server_stop
printf '\ndemo: done in %d s; nothing is left of it\n' $((SECONDS - started))
