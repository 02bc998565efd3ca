#!/bin/sh
# Makes a machine with Debian, Ubuntu, or a system made of them the runner's: Docker with its compose plugin, the group that may use it,
# an end for its logs, your authority's certificate, swap, security updates by night.
# `./lab up` runs it there, after a yes; cloud-init.yaml brings it to a new machine. By hand, from the lab's folder:
#   scp runner/setup.sh ca.crt cloud-user@gitlab-runner: && ssh -t cloud-user@gitlab-runner sh setup.sh
# It does only what is missing, so it may be stopped, and run again at any time. It needs root, and asks sudo for that.
set -eu
umask 022

user=cloud-user
registries=registry.lab
# Docker's own packages, for a system whose own ones have no compose plugin.
docker_site=https://download.docker.com/linux
source_list=/etc/apt/sources.list.d/lab-docker.sources
source_key=/etc/apt/keyrings/lab-docker.asc

export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
changed=false refreshed=false

did() {
  changed=true
  printf '%s\n' "$*"
}

note() { printf 'note: %s\n' "$*"; }

fail() {
  printf 'setup.sh: %s\n' "$@" >&2
  exit 1
}

# put FILE: writes what it reads there, whole or not at all; fails where it is there already.
put() {
  if ! { mkdir -p "${1%/*}" && cat >"$1.new"; }; then fail "$1 cannot be written"; fi
  if cmp -s "$1.new" "$1"; then
    rm -f "$1.new"
    return 1
  fi
  if ! { chmod 644 "$1.new" && mv -f "$1.new" "$1"; }; then fail "$1 cannot be written"; fi
}

become_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || fail "$(id -un) is not root, and there is no sudo here. As root: sh setup.sh"
  if [ -t 0 ]; then exec sudo sh "$0"; fi
  sudo -n true 2>/dev/null || fail "sudo asks $(id -un) for a password, and there is no terminal here to ask in. In one: sudo sh setup.sh"
  exec sudo -n sh "$0"
}

look_around() {
  ID='' ID_LIKE='' VERSION_ID='' VERSION_CODENAME='' UBUNTU_CODENAME='' DEBIAN_CODENAME='' PRETTY_NAME='an unknown system'
  # shellcheck disable=SC1091
  if [ -r /etc/os-release ]; then . /etc/os-release; fi
  command -v apt-get >/dev/null || fail "this knows Debian, Ubuntu and what is made of them, not $PRETTY_NAME. Nothing was changed." \
    "Install Docker Engine and its compose plugin by hand (https://docs.docker.com/engine/install/), then: usermod -aG docker $user"
  if [ -d /etc/pve ]; then
    fail "this is a Proxmox host: Docker would cut its guests off the network. Nothing was changed. Make a VM on it."
  fi
  id "$user" >/dev/null 2>&1 || fail "there is no user $user here. Make one (adduser $user), or: ./lab update --data runner_user=NAME"
  mkdir -p /run/lock
  exec 9>/run/lock/lab-setup
  flock -n 9 || { note "another run of setup.sh is at work here; this one waits for it" && flock 9; }
}

is_ubuntu() { case " $ID $ID_LIKE " in *' ubuntu '*) ;; *) return 1 ;; esac }

# Packages

apt() {
  apt-get -qq --yes --no-remove --no-install-recommends -o DPkg::Lock::Timeout=900 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" 2>&1 </dev/null 9>&-
}
installed() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
known() { apt-cache policy "$1" | grep -q 'Candidate: [^(]'; }

# errors: what of apt's words, in `said`, says why.
errors() { printf '%s\n' "$said" | grep -E '^E: |^dpkg: error' || printf '%s\n' "$said" | tail -n 5; }

refresh_lists() {
  refreshed=true
  said=$(apt -o APT::Update::Error-Mode=any update) || note "apt-get update says: $(errors)"
}

# What was left where an installation was cut off. Unlike apt, dpkg does not wait for its turn.
fix_packages() {
  [ -n "$(dpkg --audit)$(ls -A /var/lib/dpkg/updates)" ] || return 0
  tries=0
  until said=$(dpkg --force-confold --configure -a 2>&1 </dev/null 9>&-); do
    case $said in *'lock was locked by'*) ;; *) break ;; esac
    tries=$((tries + 1))
    [ $tries -le 90 ] || fail "another program has held dpkg's lock for 15 minutes: $said"
    sleep 10
  done
  # What was not unpacked to its end is not fixed by being configured.
  broken=$(dpkg-query --show --showformat '${db:Status-Eflag} ${binary:Package}\n' | sed -n 's/^reinstreq //p')
  if [ -n "$broken" ]; then refresh_lists; fi
  # shellcheck disable=SC2086
  said=$(apt --reinstall --fix-broken install $broken) || fail "an earlier installation was cut off, and apt cannot fix it: $(errors)"
  did "finished an installation that was cut off"
}

# choose_engine: sets `engine`, Docker's packages: of the kind that is there, else of the system where they suffice, else Docker's own.
choose_engine() {
  engine='docker-ce docker-ce-cli containerd.io docker-compose-plugin'
  own_suffice=false
  if [ "$ID" = debian ] && [ "${VERSION_ID:-99}" -ge 13 ]; then own_suffice=true; fi
  # The client is a package of its own, and may be there before the rest.
  if installed docker-ce || installed docker-ce-cli; then return; fi
  if installed docker.io || installed docker-cli; then
    if is_ubuntu; then
      engine='docker.io docker-compose-v2'
      return
    fi
    $own_suffice || fail "docker.io of $PRETTY_NAME has no compose plugin. Nothing was changed." \
      "Run this again after: apt-get remove docker.io (images and volumes stay); it then installs Docker's own"
  elif command -v docker >/dev/null; then
    fail "$(command -v docker) is of neither docker.io nor docker-ce. Nothing was changed." \
      "Remove it and run this again, or add its compose plugin by hand; then: usermod -aG docker $user"
  fi
  if $own_suffice; then engine='docker.io docker-cli docker-compose'; fi
}

# Lets apt know Docker's own packages, where one of them is missing. A source that leads to none goes again.
add_source() {
  case $engine in docker-ce*) ;; *) return 0 ;; esac
  for package in $engine; do installed "$package" || break; done
  if installed "$package"; then return; fi
  if ! grep -qs '^[^#]*download\.docker\.com/linux' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; then
    get ca-certificates
    family=debian codename=${DEBIAN_CODENAME:-$VERSION_CODENAME}
    if is_ubuntu; then family=ubuntu codename=${UBUNTU_CODENAME:-$VERSION_CODENAME}; fi
    mkdir -p "${source_key%/*}"
    said=$(/usr/lib/apt/apt-helper download-file "$docker_site/$family/gpg" "$source_key.new" 2>&1) || no_source "its key cannot be read: $(errors)"
    grep -q 'BEGIN PGP PUBLIC KEY BLOCK' "$source_key.new" || no_source "$docker_site/$family/gpg is no key; does a page to log in to stand in between?"
    chmod 644 "$source_key.new"
    mv -f "$source_key.new" "$source_key"
    put "$source_list" <<EOF && did "apt knows Docker's own packages now: $source_list"
Types: deb
URIs: $docker_site/$family
Suites: $codename
Components: stable
Architectures: $(dpkg --print-architecture)
Signed-By: $source_key
EOF
    refreshed=false
  fi
  known docker-ce || refresh_lists
  known docker-ce || no_source "apt finds no docker-ce there for $PRETTY_NAME, see the note above"
}

no_source() {
  rm -f "$source_list" "$source_key" "$source_key.new"
  fail "Docker's own packages, at $docker_site, are not to be had: $1" "Nothing was installed. Run this again once this machine reaches them."
}

# fetch PACKAGE…: sets `missing`, and gets their archives; nothing is installed before all are there.
fetch() {
  missing=''
  for package in "$@"; do installed "$package" || missing="$missing $package"; done
  [ -n "$missing" ] || return 0
  $refreshed || refresh_lists
  # shellcheck disable=SC2086
  said=$(apt --download-only install $missing) ||
    fail "apt cannot get$missing: $(errors)" "Nothing was installed. Once apt-get update works on this machine, run this again."
}

install_fetched() {
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086
  said=$(apt install $missing) || fail "apt could not install$missing: $(errors)" "Fix that, then run this again; it goes on."
  did "installed$missing"
}

get() {
  fetch "$@"
  install_fetched
}

# Settings

# What is in the file stays; of the logs, containers follow that are made after Docker's next start.
settle_docker() {
  # Docker does not start if its call says it, too.
  if systemctl cat docker 2>/dev/null | grep -q -e '--log-'; then return 0; fi
  settings=/etc/docker/daemon.json
  if [ ! -s "$settings" ]; then
    put "$settings" <<'EOF' && did "Docker's logs have an end now: $settings"
{
  "log-driver": "json-file",
  "log-opts": {
    "max-file": "3",
    "max-size": "10m"
  }
}
EOF
    return
  fi
  command -v python3 >/dev/null || return 0
  said=$(
    python3 - "$settings" 2>&1 <<'EOF'
import json, os, shutil, sys
path = sys.argv[1]
try:
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    if not isinstance(settings, dict):
        raise ValueError("no JSON object")
except ValueError as error:
    sys.exit(f"{path} is not what Docker reads: {error}. Fix it, then run this again; nothing was installed.")
said = []
if "log-driver" not in settings and "log-opts" not in settings:
    settings.update({"log-driver": "json-file", "log-opts": {"max-file": "3", "max-size": "10m"}})
    said.append("Docker's logs have an end after its next start")
if said:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=2)
        file.write("\n")
    shutil.copystat(path, f"{path}.new")
    os.replace(f"{path}.new", path)
    print(f"{'; '.join(said)}; your settings in {path} stay")
EOF
  ) || fail "$said"
  if [ -n "$said" ]; then did "$said"; fi
}

join_group() {
  case " $(id -nG "$user") " in *' docker '*) return ;; esac
  [ "$user" != root ] || return 0
  usermod -aG docker "$user" || fail "$user cannot be put into the group docker, see above"
  did "$user is in the group docker: it may use Docker, which is as much as root"
}

# Docker looks into its own folder at every pull; git and curl read the system's store.
trust_authority() {
  ca=$(dirname -- "$0")/ca.crt
  if [ ! -s "$ca" ]; then
    note "no ca.crt lies beside this script; ./lab up brings it"
    return
  fi
  grep -q 'BEGIN CERTIFICATE' "$ca" || fail "$ca is no certificate in PEM form"
  if grep -q 'PRIVATE KEY' "$ca"; then fail "$ca holds a private key, which no other machine may have; keep the certificate alone"; fi
  store=/usr/local/share/ca-certificates/lab-ca.crt
  mkdir -p "${store%/*}"
  # This mark outlives a run that is cut off before the store is made anew.
  cmp -s "$ca" "$store" || { touch "$store.changed" && put "$store" <"$ca"; }
  if [ -e "$store.changed" ]; then
    said=$(update-ca-certificates 2>&1) || fail "update-ca-certificates: $said"
    rm -f "$store.changed"
    did "this machine trusts your authority: $store"
  fi
  for registry in $registries; do
    if put "/etc/docker/certs.d/$registry/ca.crt" <"$ca"; then did "Docker trusts your authority for $registry"; fi
  done
}

upgrade_by_night() {
  unattended=''
  eval "$(apt-config shell unattended APT::Periodic::Unattended-Upgrade)"
  # Any value is the owner's word.
  if [ -n "$unattended" ]; then return; fi
  nightly=/etc/apt/apt.conf.d/20auto-upgrades
  if [ -s "$nightly" ]; then
    note "no security updates by night: $nightly has other settings"
    return
  fi
  printf 'APT::Periodic::%s "1";\n' Update-Package-Lists Unattended-Upgrade | put "$nightly"
  did "security updates come by night ($nightly)"
}

# A build that takes more memory than there is would end in the middle.
swap=/swap.lab
add_swap() {
  if command -v kubelet >/dev/null || command -v k3s >/dev/null; then
    note "no swap: a kubelet may not start with any"
    return
  fi
  if grep -q "^$swap " /proc/swaps; then
    if keep_swap; then did "$swap is in /etc/fstab"; fi
    return
  fi
  if [ "$(wc -l </proc/swaps)" -gt 1 ] || systemd-detect-virt --quiet --container 2>/dev/null; then return 0; fi
  if [ "$(df -Pk / | awk 'END { print $4 }')" -lt 12000000 ]; then
    note "no swap: less than 12 GB are free on /"
    return
  fi
  if [ ! -e "$swap" ]; then
    rm -f "$swap.new"
    if ! { fallocate -l 2G "$swap.new" && chmod 600 "$swap.new" && mkswap -q "$swap.new" && mv "$swap.new" "$swap"; }; then
      rm -f "$swap.new"
      note "no swap: $swap cannot be made"
      return
    fi
  fi
  if ! said=$(swapon "$swap" 2>&1); then
    rm -f "$swap"
    note "no swap, $said"
    return
  fi
  keep_swap || true
  did "2 GB of swap: $swap"
}

# keep_swap: has it switched on at each boot; fails where that is so.
keep_swap() {
  if grep -qs "^$swap " /etc/fstab; then return 1; fi
  {
    awk 1 /etc/fstab
    printf '%s none swap sw 0 0\n' "$swap"
  } | put /etc/fstab
}

start_docker() {
  if [ ! -d /run/systemd/system ]; then
    note "no systemd runs here: start Docker yourself, now and at each boot"
    return
  fi
  if ! { systemctl --quiet is-enabled docker && systemctl --quiet is-active docker; }; then
    systemctl --quiet enable --now docker || fail "Docker does not start: journalctl -u docker"
    did "Docker runs, and starts at each boot"
  fi
}

become_root
look_around
fix_packages
choose_engine
add_source
# Docker does not start a container where the kernel has AppArmor and its tools are missing.
set -- ca-certificates apparmor unattended-upgrades
case $(systemd-detect-virt --vm 2>/dev/null) in kvm | qemu) set -- "$@" qemu-guest-agent ;; esac
# shellcheck disable=SC2086
set -- "$@" $engine
fetch "$@"
settle_docker
install_fetched
settle_docker
join_group
trust_authority
upgrade_by_night
add_swap
start_docker
docker compose version >/dev/null || fail "docker compose does not work here, see above"
if $changed; then echo "This machine is ready for the runner."; else echo "Nothing to do: this machine is ready for the runner."; fi
