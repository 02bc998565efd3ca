# No credentials, so that nothing secret is in Git: they come as AWS_… from outside. Those of another account are refused.
provider "aws" {
  region              = var.aws_region
  allowed_account_ids = [var.aws_account]
}
