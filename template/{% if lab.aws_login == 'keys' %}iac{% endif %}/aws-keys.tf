# Jobs log in with access keys of these users. You make the keys, never OpenTofu: they would be in the state (aws.md).

variable "aws_issuer_bucket" {
  description = "Only a login with GitLab's tokens has one."
  type        = string
  default     = ""

  validation {
    condition     = var.aws_issuer_bucket == ""
    error_message = "A login with access keys publishes no keys of GitLab's: leave aws_issuer_bucket empty."
  }
}

locals {
  aws_user_policies = merge(
    { "lab-${var.lab_name}-iac" = local.aws_apply_policy },
    { for project, user in local.aws_state_names : user => local.aws_state_policies[project] },
  )

  aws_login_objects = concat([aws_iam_user.backup.arn], [for user in aws_iam_user.job : user.arn])
}

resource "aws_iam_user" "job" {
  for_each = toset(concat(["lab-${var.lab_name}-iac"], values(local.aws_state_names)))

  name = each.key
}

resource "aws_iam_user_policy" "job" {
  for_each = local.aws_user_policies

  name   = "job"
  user   = aws_iam_user.job[each.key].name
  policy = jsonencode(each.value)
}
