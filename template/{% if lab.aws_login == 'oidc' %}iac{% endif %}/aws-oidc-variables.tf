variable "aws_issuer_bucket" {
  description = "The bucket from which everybody can read GitLab's public keys; empty if AWS reaches GitLab itself."
  type        = string

  validation {
    condition     = var.aws_issuer_bucket == "" || (can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.aws_issuer_bucket)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3|-an)$", var.aws_issuer_bucket)))
    error_message = "A bucket's name has 3 to 63 of a-z, 0-9 and dashes inside, no dot, and none of the beginnings and ends that S3 keeps for itself."
  }

  validation {
    condition     = var.aws_issuer_bucket != var.aws_bucket
    error_message = "Everybody can read the issuer's bucket: it cannot be the one for backups."
  }

  validation {
    condition     = var.aws_issuer_bucket != "" || !can(regex(":[0-9]+$", var.gitlab_url))
    error_message = "AWS takes no issuer whose address has a port, as gitlab_url has: give a bucket."
  }
}

variable "aws_plan_branches" {
  description = "Branches of this project whose jobs may plan: main, and those from which merge requests come. They have to be protected."
  type        = set(string)
  default     = ["main", "from-the-lab"]

  validation {
    condition     = alltrue([for branch in var.aws_plan_branches : can(regex("^[A-Za-z0-9_][A-Za-z0-9._/-]*$", branch))])
    error_message = "Give each branch's whole name, without `*`."
  }
}
