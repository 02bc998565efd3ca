# What terraform.tfvars may say of the runner's machine. The lab's wizard refuses the same; here it is checked again at every plan.

locals {
  # What a public key of each type begins with, and how many characters it has.
  key_forms = {
    "ssh-ed25519"                        = { begin = "AAAAC3NzaC1lZDI1NTE5AAAAI", least = 68, most = 68 }
    "ssh-rsa"                            = { begin = "AAAAB3NzaC1yc2EAAAA", least = 372, most = 2800 }
    "ecdsa-sha2-nistp256"                = { begin = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB", least = 140, most = 140 }
    "ecdsa-sha2-nistp384"                = { begin = "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABh", least = 184, most = 184 }
    "ecdsa-sha2-nistp521"                = { begin = "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACF", least = 232, most = 232 }
    "sk-ssh-ed25519@openssh.com"         = { begin = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAI", least = 96, most = 300 }
    "sk-ecdsa-sha2-nistp256@openssh.com" = { begin = "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABB", least = 168, most = 400 }
  }

  # Users and groups that the cloud images have.
  taken_users = split(" ", join(" ", [
    "_apt _chrony adm admin audio backup bin cdrom crontab daemon dhcpcd dialout dip disk docker fax floppy games input irc",
    "kmem kvm landscape list lp lxd mail man messagebus netdev news nobody nogroup operator plugdev polkitd proxy render root",
    "sasl sgx shadow src sshd staff sudo sync sys syslog systemd-journal systemd-network systemd-resolve systemd-timesync tape",
    "tcpdump tss tty users utmp uucp uuidd video voice wheel www-data",
  ]))

  # An IPv4 address, a host's name, and what is never the address of another machine.
  ipv4   = "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
  dns    = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*"
  nobody = "^(?:0|127|22[4-9]|23[0-9]|24[0-9]|25[0-5])\\."
}

variable "proxmox_node" {
  description = "The node that runs the machine."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.proxmox_node))
    error_message = "proxmox_node `${var.proxmox_node}` is not a node's name: letters, digits and dashes inside, 63 at most, such as pve."
  }
}

variable "proxmox_image_store" {
  description = "The storage for the image. Its content has to include Import."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._-]{0,98}[A-Za-z0-9]$", var.proxmox_image_store))
    error_message = "proxmox_image_store `${var.proxmox_image_store}` is not a storage's ID: a letter, then letters, digits, -, _ and ., such as local."
  }
}

variable "proxmox_disk_store" {
  description = "The storage for the disk."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._-]{0,98}[A-Za-z0-9]$", var.proxmox_disk_store))
    error_message = "proxmox_disk_store `${var.proxmox_disk_store}` is not a storage's ID: a letter, then letters, digits, -, _ and ., such as local-lvm."
  }
}

variable "proxmox_bridge" {
  description = "The network bridge."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$", var.proxmox_bridge))
    error_message = "proxmox_bridge `${var.proxmox_bridge}` is not a bridge's name: letters, digits, _, . and -, 15 at most, such as vmbr0."
  }
}

variable "proxmox_vlan" {
  description = "The VLAN on the bridge; 0 for none."
  type        = number

  validation {
    condition     = var.proxmox_vlan >= 0 && var.proxmox_vlan <= 4094 && floor(var.proxmox_vlan) == var.proxmox_vlan
    error_message = "proxmox_vlan ${var.proxmox_vlan} is no VLAN; give 1 to 4094, or 0 for none."
  }
}

variable "runner_host" {
  description = "The machine's name, or its address."
  type        = string

  validation {
    condition = anytrue([
      can(regex("^${local.ipv4}$", var.runner_host)) && !can(regex("^(?:0\\.0\\.0\\.0|22[4-9]\\.|23[0-9]\\.|255\\.255\\.255\\.255)", var.runner_host)),
      can(regex("^${local.dns}$", var.runner_host)) && length(var.runner_host) <= 253 && !can(regex("(?:^|\\.)[0-9]+$", var.runner_host)),
      try(cidrhost("${var.runner_host}/128", 0) == var.runner_host, false) && !can(regex("^(?:::$|ff)", var.runner_host)),
    ])
    error_message = "runner_host `${var.runner_host}` is neither a host's name in lower case nor an address in its usual form."
  }
}

variable "runner_user" {
  description = "The user that cloud-init makes."
  type        = string

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_.-]{0,31}$", var.runner_user)) && !endswith(var.runner_user, ".")
    error_message = "runner_user `${var.runner_user}` is not a Linux user name: a-z, 0-9, _, - and dots inside, 32 at most, such as cloud-user."
  }

  validation {
    condition     = !contains(local.taken_users, var.runner_user) && !startswith(var.runner_user, "systemd-")
    error_message = "The image has a user or a group `${var.runner_user}` already; give another runner_user, such as cloud-user."
  }
}

variable "runner_vm_id" {
  description = "The machine's number in Proxmox. Another number is another machine."
  type        = number

  validation {
    condition     = var.runner_vm_id >= 100 && var.runner_vm_id <= 999999999 && floor(var.runner_vm_id) == var.runner_vm_id
    error_message = "runner_vm_id ${var.runner_vm_id} is out of range; give 100 to 999999999."
  }
}

variable "runner_address" {
  description = "The IPv4 address with its prefix, or dhcp."
  type        = string

  validation {
    condition     = var.runner_address == "dhcp" || can(regex("^${local.ipv4}/(?:[89]|[12][0-9]|30)$", var.runner_address))
    error_message = "runner_address `${var.runner_address}` is not an IPv4 address with a prefix from 8 to 30, such as 192.168.1.20/24, nor dhcp."
  }

  validation {
    condition     = var.runner_address == "dhcp" || try(!contains([cidrhost(var.runner_address, 0), cidrhost(var.runner_address, -1)], split("/", var.runner_address)[0]), true)
    error_message = "runner_address `${var.runner_address}` is the network itself or its broadcast address, not a machine in it."
  }

  validation {
    condition     = !can(regex(local.nobody, var.runner_address)) && !startswith(var.runner_address, "169.254.")
    error_message = "runner_address `${var.runner_address}` is no address of a machine in a network."
  }

  validation {
    condition = var.runner_address == "dhcp" || alltrue([
      for network in concat(var.trusted_proxies, ["10.43.0.0/16"]) :
      try(cidrhost(join("/", [split("/", var.runner_address)[0], split("/", network)[1]]), 0) != cidrhost(network, 0), true)
    ])
    error_message = "runner_address `${var.runner_address}` is in a network that the cluster uses for pods and services."
  }

  validation {
    condition     = var.runner_address == "dhcp" || !can(regex("^${local.ipv4}$", var.runner_host)) || var.runner_host == split("/", var.runner_address)[0]
    error_message = "runner_address `${var.runner_address}` is another address than runner_host, `${var.runner_host}`."
  }
}

variable "runner_gateway" {
  description = "The router of the machine's network; nothing with dhcp."
  type        = string
  default     = ""

  validation {
    condition     = var.runner_address != "dhcp" || var.runner_gateway == ""
    error_message = "runner_gateway `${var.runner_gateway}`: with dhcp the router tells the gateway; leave it out."
  }

  validation {
    condition     = var.runner_address == "dhcp" || can(regex("^${local.ipv4}$", var.runner_gateway))
    error_message = "runner_gateway `${var.runner_gateway}` is not an IPv4 address; give the router's."
  }

  validation {
    condition     = var.runner_address == "dhcp" || try(cidrhost(join("/", [var.runner_gateway, split("/", var.runner_address)[1]]), 0) == cidrhost(var.runner_address, 0), true)
    error_message = "runner_gateway `${var.runner_gateway}` is outside the machine's network."
  }

  validation {
    condition = var.runner_address == "dhcp" || try(
      !contains([split("/", var.runner_address)[0], cidrhost(var.runner_address, 0), cidrhost(var.runner_address, -1)], var.runner_gateway), true
    )
    error_message = "runner_gateway `${var.runner_gateway}` is the machine itself, or no machine's address in its network."
  }
}

variable "runner_dns" {
  description = "The DNS servers; none for the node's."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for address in var.runner_dns : can(regex("^${local.ipv4}$", address)) ? !can(regex(local.nobody, address)) :
      try(cidrhost("${address}/128", 0) == address, false) && !can(regex("^(?:::1?$|ff)", address))
    ])
    error_message = "runner_dns holds what is no DNS server's address in its usual form: ${join(", ", var.runner_dns)}."
  }

  validation {
    condition     = length(var.runner_dns) <= 3 && length(distinct(var.runner_dns)) == length(var.runner_dns)
    error_message = "runner_dns holds an address twice, or more than the 3 that Linux asks: ${join(", ", var.runner_dns)}."
  }
}

variable "runner_cores" {
  description = "Processor cores."
  type        = number

  validation {
    condition     = var.runner_cores >= 1 && var.runner_cores <= 128 && floor(var.runner_cores) == var.runner_cores
    error_message = "runner_cores ${var.runner_cores} is out of range; give 1 to 128."
  }
}

variable "runner_memory" {
  description = "Memory in MiB."
  type        = number

  validation {
    condition     = var.runner_memory >= 1024 && var.runner_memory <= 1048576 && floor(var.runner_memory) == var.runner_memory
    error_message = "runner_memory ${var.runner_memory} is out of range; give 1024 to 1048576 MiB."
  }
}

variable "runner_disk" {
  description = "The disk in GB. It grows, and never shrinks."
  type        = number

  validation {
    condition     = var.runner_disk >= 20 && var.runner_disk <= 16384 && floor(var.runner_disk) == var.runner_disk
    error_message = "runner_disk ${var.runner_disk} is out of range; give 20 to 16384 GB."
  }
}

variable "runner_ssh_keys" {
  description = "The public keys of runner_user. If terraform.tfvars names none, TF_VAR_runner_ssh_keys brings them when the machine is made."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for key in var.runner_ssh_keys : can(regex("^[^ ]+ (?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?: [!-~](?:[ -~]{0,198}[!-~])?)?$", key)) && try(
        startswith(split(" ", key)[1], local.key_forms[split(" ", key)[0]].begin)
        && length(split(" ", key)[1]) >= local.key_forms[split(" ", key)[0]].least
        && length(split(" ", key)[1]) <= local.key_forms[split(" ", key)[0]].most, false
      )
    ])
    error_message = "runner_ssh_keys holds what is no public key that sshd takes: give each as the one line of its .pub file."
  }

  validation {
    condition     = try(length(distinct([for key in var.runner_ssh_keys : split(" ", key)[1]])) == length(var.runner_ssh_keys), true)
    error_message = "runner_ssh_keys holds one key twice; keep it once."
  }
}

variable "vm_image_url" {
  description = "The cloud image, of one date."
  type        = string

  validation {
    condition     = can(regex("^https://(?:${local.dns})(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~+-]+)+$", var.vm_image_url))
    error_message = "vm_image_url `${var.vm_image_url}` is not a plain https URL: a host and a path, without user, query and blanks."
  }

  validation {
    condition = alltrue([
      can(regex("^https://${local.ipv4}[:/]", var.vm_image_url)) ? !can(regex("^https://(?:0\\.0\\.0\\.0|22[4-9]\\.|23[0-9]\\.|255\\.255\\.255\\.255)", var.vm_image_url)) :
      !can(regex("^https://(?:[^/:]*\\.)?[0-9]+[:/]", var.vm_image_url)),
      try(tonumber(regex("^https://[^/:]+:([0-9]+)/", var.vm_image_url)[0]) <= 65535, true),
      try(length(regex("^https://([^/:]+)", var.vm_image_url)[0]) <= 253, true),
    ])
    error_message = "vm_image_url `${var.vm_image_url}` has a host or a port that cannot be."
  }

  validation {
    condition     = endswith(var.vm_image_url, ".qcow2")
    error_message = "vm_image_url `${var.vm_image_url}` does not end in .qcow2, which is what Proxmox imports."
  }

  validation {
    condition     = !can(regex("^https://[^/]+/(?:.*[^a-z])?(?:latest|current)[^a-z]", var.vm_image_url))
    error_message = "vm_image_url `${var.vm_image_url}` leads to another image each time a new one comes out; give one of a date."
  }
}

variable "vm_image_checksum" {
  description = "The image's SHA-512."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{128}$", var.vm_image_checksum))
    error_message = "vm_image_checksum `${var.vm_image_checksum}` is not a SHA-512: 128 characters of 0-9 and a-f."
  }
}

variable "trusted_proxies" {
  description = "The pods' networks, where no machine can have its address."
  type        = list(string)
}
