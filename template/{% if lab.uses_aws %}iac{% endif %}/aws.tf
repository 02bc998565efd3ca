# One bucket, private and encrypted: backups/ for GitLab's backups, state/ for the OpenTofu state of other projects.

resource "aws_s3_bucket" "lab" {
  bucket = var.aws_bucket

  lifecycle {
    # To leave AWS and keep the bucket, see aws.md.
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "lab" {
  bucket = aws_s3_bucket.lab.id

  rule {
    # No access control lists: the policies below say it all.
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "lab" {
  bucket = aws_s3_bucket.lab.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lab" {
  bucket = aws_s3_bucket.lab.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# What is overwritten or removed, by a mistake or by somebody with a stolen key, can be had back for a while.
resource "aws_s3_bucket_versioning" "lab" {
  bucket = aws_s3_bucket.lab.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "lab" {
  bucket = aws_s3_bucket.lab.id

  rule {
    id     = "backups"
    status = "Enabled"

    filter {
      prefix = "backups/"
    }

    expiration {
      days = var.aws_backup_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  rule {
    id     = "state"
    status = "Enabled"

    filter {
      prefix = "state/"
    }

    # What is left of a lock that was taken away.
    expiration {
      expired_object_delete_marker = true
    }

    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }

  rule {
    id     = "broken-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.lab]
}

resource "aws_s3_bucket_policy" "lab" {
  bucket = aws_s3_bucket.lab.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [local.aws_tls_only["lab"]] })

  depends_on = [aws_s3_bucket_public_access_block.lab]
}

locals {
  aws_buckets = merge({ lab = var.aws_bucket }, var.aws_issuer_bucket == "" ? {} : { issuer = var.aws_issuer_bucket })

  aws_tls_only = {
    for key, name in local.aws_buckets : key => {
      Sid       = "OnlyOverTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${name}", "arn:aws:s3:::${name}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }
}
