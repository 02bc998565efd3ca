# Jobs log in with a certificate. AWS trusts the authority in aws-ca.crt, and takes of its certificates only those whose common
# name (CN) is the project's path.

variable "aws_issuer_bucket" {
  description = "Only a login with GitLab's tokens has one."
  type        = string
  default     = ""

  validation {
    condition     = var.aws_issuer_bucket == ""
    error_message = "A login with certificates publishes no keys: leave aws_issuer_bucket empty."
  }
}

locals {
  aws_ca_file = "${path.module}/aws-ca.crt"
  aws_ca      = fileexists(local.aws_ca_file) ? file(local.aws_ca_file) : ""

  # Each role, and the common name of its certificates.
  aws_role_names = merge(
    { "lab-${var.lab_name}-iac" = var.iac_project },
    { for project, role in local.aws_state_names : role => project },
  )

  aws_role_policies = merge(
    { "lab-${var.lab_name}-iac" = local.aws_apply_policy },
    { for project, role in local.aws_state_names : role => local.aws_state_policies[project] },
  )

  aws_login_objects = concat(
    [aws_rolesanywhere_trust_anchor.lab.arn, "arn:aws:rolesanywhere:${var.aws_region}:${var.aws_account}:profile/*", aws_iam_user.backup.arn],
    [for name in keys(local.aws_role_names) : "arn:aws:iam::${var.aws_account}:role/${name}"],
  )
}

resource "aws_rolesanywhere_trust_anchor" "lab" {
  name    = "lab-${var.lab_name}"
  enabled = true

  source {
    source_type = "CERTIFICATE_BUNDLE"

    source_data {
      x509_certificate_data = local.aws_ca
    }
  }

  lifecycle {
    precondition {
      condition     = strcontains(local.aws_ca, "-----BEGIN CERTIFICATE-----") && !strcontains(local.aws_ca, "PRIVATE KEY")
      error_message = "aws-ca.crt is missing beside this file, or is no certificate alone: copy there the certificate (never the key) of the authority that signs the jobs' certificates."
    }
  }
}

resource "aws_rolesanywhere_profile" "lab" {
  name             = "lab-${var.lab_name}"
  enabled          = true
  role_arns        = [for name in keys(local.aws_role_names) : aws_iam_role.job[name].arn]
  duration_seconds = 3600
}

resource "aws_iam_role" "job" {
  for_each = local.aws_role_names

  name        = each.key
  description = "Jobs of ${each.value}, by their certificate"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "rolesanywhere.amazonaws.com" }
        Action    = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
        Condition = {
          ArnEquals    = { "aws:SourceArn" = aws_rolesanywhere_trust_anchor.lab.arn }
          StringEquals = { "aws:PrincipalTag/x509Subject/CN" = each.value }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "job" {
  for_each = local.aws_role_policies

  name   = "job"
  role   = aws_iam_role.job[each.key].name
  policy = jsonencode(each.value)
}

output "aws_trust_anchor_arn" {
  description = "Which authority a job logs in by."
  value       = aws_rolesanywhere_trust_anchor.lab.arn
}

output "aws_profile_arn" {
  description = "Which roles it can get."
  value       = aws_rolesanywhere_profile.lab.arn
}
