# The state is in this project of GitLab (Operate > Terraform states). Its address and log-in come as TF_HTTP_… from outside.
terraform {
  backend "http" {}
}
