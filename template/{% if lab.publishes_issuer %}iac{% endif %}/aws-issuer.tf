# AWS cannot ask this GitLab, so GitLab's two public documents lie in a bucket that everybody can read: what it is, and its keys.
# Whoever can write to this bucket can sign tokens that AWS takes for GitLab's, and so gets every role that trusts it.

data "http" "gitlab" {
  for_each = toset([".well-known/openid-configuration", "oauth/discovery/keys"])

  url = "${var.gitlab_url}/${each.key}"

  lifecycle {
    postcondition {
      condition     = self.status_code == 200 && can(keys(jsondecode(self.response_body)))
      error_message = "GitLab did not show ${each.key}; its answer has the status ${self.status_code}, or is no JSON. Is gitlab_url GitLab's own address?"
    }
  }
}

locals {
  aws_gitlab_keys = try(jsondecode(data.http.gitlab["oauth/discovery/keys"].response_body).keys, [])

  aws_issuer_documents = {
    ".well-known/openid-configuration" = jsonencode(merge(
      jsondecode(data.http.gitlab[".well-known/openid-configuration"].response_body),
      { issuer = local.aws_issuer, jwks_uri = "${local.aws_issuer}/oauth/discovery/keys" },
    ))
    # Member by member: whatever else GitLab may say of a key one day, no private part is published.
    "oauth/discovery/keys" = jsonencode({
      keys = [for key in local.aws_gitlab_keys : { kty = key.kty, kid = key.kid, use = key.use, alg = key.alg, e = key.e, n = key.n }]
    })
  }
}

resource "aws_s3_bucket" "issuer" {
  bucket = var.aws_issuer_bucket
  # It holds copies of what GitLab shows anybody, and nothing else.
  force_destroy = true
}

resource "aws_s3_bucket_ownership_controls" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  block_public_acls  = true
  ignore_public_acls = true
  # The policy below is public on purpose, for two objects.
  block_public_policy     = false
  restrict_public_buckets = false
}

resource "aws_s3_bucket_server_side_encryption_configuration" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# What was published when.
resource "aws_s3_bucket_versioning" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.aws_tls_only["issuer"],
      {
        Sid       = "EverybodyReadsTheDocuments"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = [for key in keys(local.aws_issuer_documents) : "arn:aws:s3:::${var.aws_issuer_bucket}/${key}"]
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.issuer]
}

resource "aws_s3_object" "issuer" {
  for_each = local.aws_issuer_documents

  bucket       = aws_s3_bucket.issuer.id
  key          = each.key
  content      = each.value
  content_type = "application/json"
  # A plan sees it if somebody else wrote there.
  etag = md5(each.value)

  lifecycle {
    precondition {
      condition     = length(local.aws_gitlab_keys) > 0 && alltrue([for key in local.aws_gitlab_keys : try(key.kty, "") == "RSA" && try(key.alg, "") == "RS256" && try(key.kid, "") != ""])
      error_message = "GitLab shows no keys, or keys that are not RSA for RS256: nobody could log in with what would be published."
    }
  }

  # AWS refuses a provider whose documents it cannot read, and old ones stay until the new ones are there.
  depends_on = [aws_s3_bucket_policy.issuer, aws_s3_bucket_versioning.issuer]
}
