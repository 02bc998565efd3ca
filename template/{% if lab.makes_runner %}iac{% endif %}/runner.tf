# The runner's machine: made from a cloud image by Proxmox's own cloud-init. Docker comes later, by the lab's runner/setup.sh.

resource "proxmox_download_file" "runner_image" {
  node_name    = var.proxmox_node
  datastore_id = var.proxmox_image_store
  content_type = "import"

  url                = var.vm_image_url
  checksum           = var.vm_image_checksum
  checksum_algorithm = "sha512"
  # No other file of the storage has this name, so one that is there is this machine's, from before its state was lost.
  file_name           = "vm-${var.runner_vm_id}-${basename(var.vm_image_url)}"
  overwrite           = false
  overwrite_unmanaged = true
}

# The machines that are there, for the precondition below.
data "proxmox_virtual_environment_vms" "present" {
  node_name = var.proxmox_node
}

resource "proxmox_virtual_environment_vm" "runner" {
  vm_id       = var.runner_vm_id
  name        = can(regex("^[0-9.]+$|:", var.runner_host)) ? "gitlab-runner" : var.runner_host
  description = "GitLab's runner. Made and changed by OpenTofu."
  # Sorted, as Proxmox keeps them.
  tags      = ["lab", "runner"]
  node_name = var.proxmox_node
  # Another node means a move, not a new machine.
  migrate = true

  on_boot    = true
  protection = true
  # At the end of its life there may be no guest agent that a shutdown could ask.
  stop_on_destroy = true

  cpu {
    cores = var.runner_cores
    type  = "x86-64-v2-AES"
  }

  memory {
    dedicated = var.runner_memory
  }

  scsi_hardware = "virtio-scsi-single"

  disk {
    datastore_id = var.proxmox_disk_store
    interface    = "scsi0"
    import_from  = proxmox_download_file.runner_image.id
    size         = var.runner_disk
    discard      = "on"
    iothread     = true
    ssd          = true
  }

  network_device {
    bridge  = var.proxmox_bridge
    vlan_id = var.proxmox_vlan == 0 ? null : var.proxmox_vlan
  }

  operating_system {
    type = "l26"
  }

  # Debian's cloud image writes its first messages there.
  serial_device {}

  # The image has no agent; runner/setup.sh installs it. Waiting for it would take 15 minutes, at every plan.
  agent {
    enabled = true

    wait_for_ip {
      disabled = true
    }
  }

  initialization {
    datastore_id = var.proxmox_disk_store

    dynamic "dns" {
      for_each = length(var.runner_dns) == 0 ? [] : [var.runner_dns]

      content {
        servers = dns.value
      }
    }

    ip_config {
      ipv4 {
        address = var.runner_address
        gateway = var.runner_address == "dhcp" ? null : var.runner_gateway
      }
    }

    user_account {
      username = var.runner_user
      keys     = var.runner_ssh_keys
    }
  }

  lifecycle {
    # To make it anew on purpose, see "Rebuild" in README.md.
    prevent_destroy = true

    # The provider does not refuse a number that is taken: it would change that machine and call it the runner's.
    precondition {
      condition = alltrue([
        for one in data.proxmox_virtual_environment_vms.present.vms : contains(one.tags, "runner") if one.vm_id == var.runner_vm_id
      ])
      error_message = "In Proxmox, ${var.runner_vm_id} is the number of a machine without the tag `runner`. Give another runner_vm_id; or that tag, if it is the runner's machine."
    }

    # They count when the machine is made: a newer image is for the next one, and keys of a living machine are in its authorized_keys.
    ignore_changes = [
      disk[0].import_from,
      initialization[0].user_account,
    ]
  }
}

output "runner_mac_address" {
  description = "For a reservation of the address in your router."
  value       = proxmox_virtual_environment_vm.runner.network_device[0].mac_address
}
