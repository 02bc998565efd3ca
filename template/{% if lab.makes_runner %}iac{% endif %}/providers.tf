# Empty, so that nothing secret is in Git: PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN tell it where and who.
provider "proxmox" {}
