variable "lab_name" {
  description = "The lab's name: what it has at AWS is called after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.lab_name)) && length(var.lab_name) <= 40
    error_message = "The lab's name becomes a part of roles' names, which have 64 characters at most: a-z, 0-9 and dashes inside, 40 at most."
  }
}

variable "gitlab_url" {
  description = "Where GitLab answers."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", var.gitlab_url))
    error_message = "Give GitLab's address as https://host or https://host:port, without a path and without a slash at its end."
  }
}

variable "iac_project" {
  description = "This project's path in GitLab. Jobs of its branch main log in to AWS; those of no other project do."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+$", var.iac_project))
    error_message = "Give this project's whole path, such as homelab/iac, without `*`: any project that fits would get in."
  }
}

variable "aws_region" {
  description = "The region of the buckets."
  type        = string

  validation {
    condition     = can(regex("^(af|ap|ca|eu|il|me|mx|sa|us)-(central|(north|south)(east|west)?|east|west)-[1-9]$", var.aws_region))
    error_message = "Give a region of AWS's usual part, such as eu-central-1: not a zone (eu-central-1a), and none of cn-… or us-gov-…."
  }
}

variable "aws_account" {
  description = "The number of the AWS account. OpenTofu works in no other one."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.aws_account))
    error_message = "Give the account's 12 digits, without dashes, in quotes."
  }
}

variable "aws_bucket" {
  description = "The bucket for backups and state."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.aws_bucket)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3|-an)$", var.aws_bucket))
    error_message = "A bucket's name has 3 to 63 of a-z, 0-9 and dashes inside, no dot, and none of the beginnings and ends that S3 keeps for itself."
  }
}

variable "aws_backup_days" {
  description = "After how many days S3 removes a backup."
  type        = number

  validation {
    condition     = var.aws_backup_days >= 7 && var.aws_backup_days <= 3650 && floor(var.aws_backup_days) == var.aws_backup_days
    error_message = "Give 7 to 3650 whole days."
  }
}

variable "aws_state_projects" {
  description = "Other projects that keep their state in the bucket, each below state/<its path>/. See aws.md."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for path in var.aws_state_projects : can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+$", path))])
    error_message = "Give each project's whole path, such as homelab/website, without `*`: any project that fits would get in."
  }

  validation {
    condition     = alltrue([for path in var.aws_state_projects : length("lab-${var.lab_name}-state-${path}") <= 64])
    error_message = "The names of roles have 64 characters at most: lab-<lab_name>-state-<project> is longer. Move the project, or make its role by hand."
  }
}
